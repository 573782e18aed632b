// tests/contract/reference.mjs - the fields of tally's GraphQL once more, for npm `graphql`, over
// what REST answers.
const BUCKETS = ['ON_HAND', 'DAMAGED', 'QUALITY_CONTROL', 'HELD', 'RESERVED', 'COMMITTED', 'SAFETY_STOCK', 'INCOMING',
  'AVAILABLE', 'BACKORDERED'];

export class Reference {
  constructor(base) {
    this.base = base;
    this.rootValue = {
      node: ({ id }) => this.node(id),
      product: ({ slug, id }) => {
        if ((slug == null) === (id == null)) {
          throw new Error('product: expected exactly one of slug and id');
        }
        return this.product(slug == null ? `by-id/${encodeURIComponent(id)}` : encodeURIComponent(slug));
      },
      stock: ({ sku, warehouses }) => this.stock(sku, warehouses),
      stocks: ({ skus }) => skus.map((sku) => this.stock(sku)),
      reservation: ({ id }) => this.reservation(id),
      lowStock: (args) => this.lowStock(args),
      command: ({ id }) => this.command(id),
    };
  }

  // The document and the position of an answer; null: there is none.
  async get(path) {
    const answer = await fetch(this.base + path);
    if (answer.status === 404) {
      return null;
    }
    if (!answer.ok) {
      throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    }
    return { document: await answer.json(), position: answer.headers.get('tally-position') };
  }

  node(id) {
    const [kind, ...key] = id.split(':');
    const find = { Product: (name) => this.product(`by-id/${name}`), Stock: (name) => this.stock(name),
      Reservation: (name) => this.reservation(name) }[kind];
    return key.length > 0 && find ? find(key.join(':')) : null;
  }

  async stock(sku, warehouses) {
    const filter = warehouses ? `?warehouse=${warehouses.join(',')}` : '';
    const found = await this.get(`/v1/stock/${encodeURIComponent(sku)}${filter}`);
    if (!found) {
      return null;
    }
    const stock = found.document;
    return {
      __typename: 'Stock', id: `Stock:${sku}`, sku, version: stock.version, available: stock.totals.available,
      position: found.position, levels: stock.levels.map((level) => this.level(level)),
      product: () => (stock.product_id ? this.product(`by-id/${stock.product_id}`) : null),
    };
  }

  quantities(numbers, names, zeros) {
    return BUCKETS.filter((name) => !names || names.includes(name))
      .map((name) => ({ name, quantity: numbers[name.toLowerCase()] ?? 0 }))
      .filter((quantity) => zeros || quantity.quantity !== 0);
  }

  level(level) {
    return {
      sku: level.sku, warehouse: level.warehouse, version: level.version, updatedAt: level.updated_at,
      lowStockThreshold: level.low_stock_threshold,
      quantities: ({ names }) => this.quantities(level, names, true),
      ledger: async ({ first, kinds }) => {
        const kind = kinds ? `&kind=${kinds.join(',')}` : '';
        const page = await this.get(`/v1/stock/${level.sku}/ledger?warehouse=${level.warehouse}&limit=${first}${kind}`);
        return this.page(page.document, (entry) => ({
          ...entry, deltas: this.quantities(entry.deltas, null, false), after: this.quantities(entry.after, null, true),
          commandId: entry.command_id, reservationId: entry.cause?.reservation_id, recordedAt: entry.recorded_at,
        }));
      },
    };
  }

  page(document, one) {
    return { nodes: document.items.map(one), pageInfo: { hasNextPage: document.next_cursor !== null } };
  }

  async product(path) {
    const found = await this.get(`/v1/products/${path}`);
    if (!found) {
      return null;
    }
    const row = found.document;
    const product = {
      __typename: 'Product', id: `Product:${row.product_id}`, slug: row.slug, name: row.name,
      description: row.description, status: row.status, categoryIds: row.category_ids, attributes: row.attributes,
      media: row.media, version: row.version, updatedAt: row.updated_at,
    };
    product.variants = row.variants.map((variant, index) => ({
      sku: variant.sku, options: variant.options, product,
      stock: ({ warehouses }) => this.stock(variant.sku, warehouses),
      price: async ({ currency, list, at }) => {
        const query = `currency=${currency}&list=${list}${at ? `&at=${at}` : ''}`;
        const { price } = (await this.get(`/v1/products/by-id/${row.product_id}?${query}`)).document.variants[index];
        return price && { currency: price.currency, amountMinor: price.amount_minor,
          compareAtMinor: price.compare_at_minor, validUntil: price.valid_until };
      },
    }));
    return product;
  }

  async reservation(id) {
    const found = await this.get(`/v1/reservations/${encodeURIComponent(id)}`);
    const row = found?.document;
    return row && {
      __typename: 'Reservation', id: `Reservation:${id}`, state: row.state, owner: row.owner, orderId: row.order_id,
      expiresAt: row.expires_at, version: row.version,
      lines: row.lines.map((line) => ({ ...line, shipped: line.shipped ?? 0 })),
    };
  }

  async lowStock({ first, warehouse }) {
    const filter = warehouse ? `&warehouse=${warehouse}` : '';
    const { document } = await this.get(`/v1/stock:low?limit=${first}${filter}`);
    return this.page(document, (low) => ({ ...low, lowStockThreshold: low.low_stock_threshold }));
  }

  async command(id) {
    const found = await this.get(`/v1/commands/${id}`);
    const row = found?.document;
    const kinds = { ACCEPTED: 'Accepted', REJECTED: 'Rejected', PENDING: 'Pending' };
    return row && { ...row, __typename: kinds[row.status], commandId: row.command_id };
  }
}
