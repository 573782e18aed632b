-- for: content
-- The content, once for what is read and once for what is being built. Versions are those of the
-- events; a row of version 0 (a warehouse: without a name) is only named by other rows, so that
-- references hold whichever topic is read first.
CREATE TABLE sink_position (
    topic       text COLLATE "C" NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint CHECK (next_offset >= 0),
    epoch       bigint NOT NULL,
    as_of       timestamptz,
    PRIMARY KEY (topic, partition)
);
COMMENT ON TABLE sink_position IS 'how far each partition of events is in this content';
COMMENT ON COLUMN sink_position.topic IS 'events topic, with its prefix';
COMMENT ON COLUMN sink_position.partition IS 'partition of it';
COMMENT ON COLUMN sink_position.next_offset IS 'first offset that is not in the content; null: none is';
COMMENT ON COLUMN sink_position.epoch IS 'of the owner who may write; a higher one takes over';
COMMENT ON COLUMN sink_position.as_of IS 'the content is complete up to this time of events';

CREATE TABLE product (
    product_id  text COLLATE "C" PRIMARY KEY,
    slug        text COLLATE "C",
    name        text,
    description text,
    status      text COLLATE "C" CHECK (status IN ('DRAFT', 'ACTIVE', 'ARCHIVED')),
    attributes  jsonb,
    media       text[],
    version     bigint NOT NULL CHECK (version >= 0),
    created_at  timestamptz,
    updated_at  timestamptz,
    document    json,
    search      tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('simple', coalesce(name, '')), 'A') ||
        setweight(to_tsvector('simple', replace(coalesce(slug, ''), '-', ' ')), 'B') ||
        setweight(to_tsvector('simple', left(coalesce(description, ''), 65536)), 'C')) STORED,
    CHECK (version = 0 OR (slug, name, description, status, attributes, media, created_at,
                           updated_at, document) IS NOT NULL)
);
COMMENT ON TABLE product IS 'products as their last event left them';
COMMENT ON COLUMN product.product_id IS 'key of the product';
COMMENT ON COLUMN product.slug IS 'its name in addresses now; older ones are in slug';
COMMENT ON COLUMN product.name IS 'its name';
COMMENT ON COLUMN product.description IS 'its description';
COMMENT ON COLUMN product.status IS 'DRAFT, ACTIVE or ARCHIVED';
COMMENT ON COLUMN product.attributes IS 'whatever else is known of it';
COMMENT ON COLUMN product.media IS 'addresses of pictures, in order';
COMMENT ON COLUMN product.version IS 'counts its changes, from 1; 0: only named by a SKU or a slug so far';
COMMENT ON COLUMN product.created_at IS 'when it was created';
COMMENT ON COLUMN product.updated_at IS 'when it changed last';
COMMENT ON COLUMN product.document IS 'all of it as GET /v1/products/{slug} answers it';
COMMENT ON COLUMN product.search IS 'words of name, slug and description, for searches';

CREATE TABLE slug (
    slug         text COLLATE "C" PRIMARY KEY,
    product_id   text COLLATE "C" REFERENCES product,
    op_id        text COLLATE "C" NOT NULL,
    event_offset bigint NOT NULL
);
COMMENT ON TABLE slug IS 'who has claimed a slug, also those that a product had before';
COMMENT ON COLUMN slug.slug IS 'the slug';
COMMENT ON COLUMN slug.product_id IS 'whose it is; null: nobody''s any more';
COMMENT ON COLUMN slug.op_id IS 'operation that claimed or released it';
COMMENT ON COLUMN slug.event_offset IS 'offset of its last event, which orders them';

CREATE TABLE sku (
    sku        text COLLATE "C" PRIMARY KEY,
    product_id text COLLATE "C" REFERENCES product,
    state      text COLLATE "C" CHECK (state IN ('ACTIVE', 'ARCHIVED')),
    op_id      text COLLATE "C",
    version    bigint NOT NULL CHECK (version >= 0)
);
COMMENT ON TABLE sku IS 'stock keeping units as the stock side knows them';
COMMENT ON COLUMN sku.sku IS 'key of the SKU';
COMMENT ON COLUMN sku.product_id IS 'product that it belongs to; null: none';
COMMENT ON COLUMN sku.state IS 'ACTIVE or ARCHIVED; null: not registered, only named';
COMMENT ON COLUMN sku.op_id IS 'operation that claimed it';
COMMENT ON COLUMN sku.version IS 'of the SKU itself, not of its levels; 0: only named';

CREATE TABLE variant (
    sku             text COLLATE "C" PRIMARY KEY REFERENCES sku,
    product_id      text COLLATE "C" NOT NULL REFERENCES product,
    place           integer NOT NULL,
    barcode         text COLLATE "C",
    options         jsonb NOT NULL,
    uom             text NOT NULL,
    scale           integer NOT NULL,
    status          text COLLATE "C" NOT NULL,
    product_version bigint NOT NULL CHECK (product_version > 0)
);
COMMENT ON TABLE variant IS 'what can be bought of a product';
COMMENT ON COLUMN variant.sku IS 'its SKU';
COMMENT ON COLUMN variant.product_id IS 'its product';
COMMENT ON COLUMN variant.place IS 'its place among the variants of the product, from 0';
COMMENT ON COLUMN variant.barcode IS 'its barcode, where it has one';
COMMENT ON COLUMN variant.options IS 'what makes it different from the others';
COMMENT ON COLUMN variant.uom IS 'unit of measure';
COMMENT ON COLUMN variant.scale IS 'digits behind the point of a quantity when it is shown';
COMMENT ON COLUMN variant.status IS 'ACTIVE';
COMMENT ON COLUMN variant.product_version IS 'version of the product that said so last';

CREATE TABLE product_category (
    product_id      text COLLATE "C" NOT NULL REFERENCES product,
    category_id     text COLLATE "C" NOT NULL,
    place           integer NOT NULL,
    product_version bigint NOT NULL CHECK (product_version > 0),
    PRIMARY KEY (product_id, category_id)
);
COMMENT ON TABLE product_category IS 'categories that a product is in';
COMMENT ON COLUMN product_category.product_id IS 'product';
COMMENT ON COLUMN product_category.category_id IS 'category';
COMMENT ON COLUMN product_category.place IS 'its place in category_ids, from 0';
COMMENT ON COLUMN product_category.product_version IS 'version of the product that said so last';

CREATE TABLE price (
    sku              text COLLATE "C" NOT NULL REFERENCES variant,
    price_id         text COLLATE "C" NOT NULL,
    product_id       text COLLATE "C" NOT NULL REFERENCES product,
    kind             text COLLATE "C" NOT NULL CHECK (kind IN ('BASE', 'SALE')),
    list             text NOT NULL,
    currency         text COLLATE "C" NOT NULL,
    amount_minor     bigint NOT NULL CHECK (amount_minor >= 0),
    compare_at_minor bigint,
    valid_from       timestamptz,
    valid_until      timestamptz,
    product_version  bigint NOT NULL CHECK (product_version > 0),
    PRIMARY KEY (sku, price_id)
);
COMMENT ON TABLE price IS 'prices of variants: the one that always holds, and those of a time';
COMMENT ON COLUMN price.sku IS 'variant';
COMMENT ON COLUMN price.price_id IS 'command that set it';
COMMENT ON COLUMN price.product_id IS 'product of the variant';
COMMENT ON COLUMN price.kind IS 'BASE, or SALE: which wins between valid_from and valid_until';
COMMENT ON COLUMN price.list IS 'price list';
COMMENT ON COLUMN price.currency IS 'currency, ISO 4217';
COMMENT ON COLUMN price.amount_minor IS 'the price in minor units of the currency';
COMMENT ON COLUMN price.compare_at_minor IS 'price that it is compared with';
COMMENT ON COLUMN price.valid_from IS 'a SALE holds from then; null: open';
COMMENT ON COLUMN price.valid_until IS 'and until before then; null: open';
COMMENT ON COLUMN price.product_version IS 'version of the product that said so last';

CREATE TABLE warehouse (
    warehouse    text COLLATE "C" PRIMARY KEY,
    name         text,
    state        text COLLATE "C" CHECK (state IN ('OPEN', 'CLOSED')),
    event_offset bigint NOT NULL
);
COMMENT ON TABLE warehouse IS 'warehouses';
COMMENT ON COLUMN warehouse.warehouse IS 'code of the warehouse';
COMMENT ON COLUMN warehouse.name IS 'its name; null: only named by other rows so far';
COMMENT ON COLUMN warehouse.state IS 'OPEN or CLOSED';
COMMENT ON COLUMN warehouse.event_offset IS 'offset of its last catalogue event; -1: the stock side told of it';

CREATE TABLE stock_level (
    sku                 text COLLATE "C" NOT NULL REFERENCES sku,
    warehouse           text COLLATE "C" NOT NULL REFERENCES warehouse,
    on_hand             bigint NOT NULL,
    damaged             bigint NOT NULL,
    quality_control     bigint NOT NULL,
    held                bigint NOT NULL,
    reserved            bigint NOT NULL,
    committed           bigint NOT NULL,
    safety_stock        bigint NOT NULL,
    incoming            bigint NOT NULL,
    available           bigint GENERATED ALWAYS AS (
        on_hand - damaged - quality_control - held - reserved - committed - safety_stock) STORED,
    backordered         bigint GENERATED ALWAYS AS (
        greatest(0, held + reserved + committed - (on_hand - damaged - quality_control))) STORED,
    policy              text COLLATE "C" NOT NULL DEFAULT 'DENY' CHECK (policy IN ('DENY', 'BACKORDER')),
    backorder_limit     bigint,
    low_stock_threshold bigint,
    setting_version     bigint NOT NULL DEFAULT 0,
    version             bigint NOT NULL CHECK (version > 0),
    updated_at          timestamptz NOT NULL,
    PRIMARY KEY (sku, warehouse)
) WITH (fillfactor = 80);
COMMENT ON TABLE stock_level IS 'what a warehouse has of a SKU, by bucket, and its settings';
COMMENT ON COLUMN stock_level.sku IS 'SKU';
COMMENT ON COLUMN stock_level.warehouse IS 'warehouse';
COMMENT ON COLUMN stock_level.on_hand IS 'units that are there';
COMMENT ON COLUMN stock_level.damaged IS 'of them damaged';
COMMENT ON COLUMN stock_level.quality_control IS 'of them being inspected';
COMMENT ON COLUMN stock_level.held IS 'promised to a reservation that is being made';
COMMENT ON COLUMN stock_level.reserved IS 'promised for a time';
COMMENT ON COLUMN stock_level.committed IS 'promised to an order';
COMMENT ON COLUMN stock_level.safety_stock IS 'kept back; a setting';
COMMENT ON COLUMN stock_level.incoming IS 'on the way from other warehouses';
COMMENT ON COLUMN stock_level.available IS 'what may be promised; computed, may be below 0';
COMMENT ON COLUMN stock_level.backordered IS 'promised beyond what is there; computed';
COMMENT ON COLUMN stock_level.policy IS 'DENY or BACKORDER; a setting';
COMMENT ON COLUMN stock_level.backorder_limit IS 'how much may be backordered; null: no limit; a setting';
COMMENT ON COLUMN stock_level.low_stock_threshold IS 'available at or below it is low; null: never; a setting';
COMMENT ON COLUMN stock_level.setting_version IS 'version of the level that set them; 0: defaults';
COMMENT ON COLUMN stock_level.version IS 'seq of its last ledger entry';
COMMENT ON COLUMN stock_level.updated_at IS 'time of its last ledger entry';

CREATE TABLE ledger_entry (
    sku                   text COLLATE "C" NOT NULL,
    warehouse             text COLLATE "C" NOT NULL,
    seq                   bigint NOT NULL CHECK (seq > 0),
    type                  text COLLATE "C" NOT NULL,
    kind                  text COLLATE "C" NOT NULL,
    on_hand_delta         bigint NOT NULL,
    damaged_delta         bigint NOT NULL,
    quality_control_delta bigint NOT NULL,
    held_delta            bigint NOT NULL,
    reserved_delta        bigint NOT NULL,
    committed_delta       bigint NOT NULL,
    safety_stock_delta    bigint NOT NULL,
    incoming_delta        bigint NOT NULL,
    on_hand               bigint NOT NULL,
    damaged               bigint NOT NULL,
    quality_control       bigint NOT NULL,
    held                  bigint NOT NULL,
    reserved              bigint NOT NULL,
    committed             bigint NOT NULL,
    safety_stock          bigint NOT NULL,
    incoming              bigint NOT NULL,
    reason                text COLLATE "C",
    note                  text,
    reference             text,
    reservation_id        text COLLATE "C",
    line                  integer,
    order_id              text COLLATE "C",
    shipment_id           text COLLATE "C",
    return_id             text COLLATE "C",
    transfer_id           text COLLATE "C",
    signals               text[],
    actor                 text,
    command_id            text COLLATE "C" NOT NULL,
    partition             integer NOT NULL,
    command_offset        bigint NOT NULL,
    recorded_at           timestamptz NOT NULL,
    PRIMARY KEY (sku, warehouse, seq, recorded_at),
    UNIQUE (partition, command_id, sku, recorded_at),
    FOREIGN KEY (sku, warehouse) REFERENCES stock_level
) PARTITION BY RANGE (recorded_at);
COMMENT ON TABLE ledger_entry IS 'every change of a level; a partition for each month';
COMMENT ON COLUMN ledger_entry.sku IS 'SKU';
COMMENT ON COLUMN ledger_entry.warehouse IS 'warehouse';
COMMENT ON COLUMN ledger_entry.seq IS 'number of the entry, from 1 without gaps';
COMMENT ON COLUMN ledger_entry.type IS 'type of the event';
COMMENT ON COLUMN ledger_entry.kind IS 'what happened';
COMMENT ON COLUMN ledger_entry.on_hand_delta IS 'change of on_hand';
COMMENT ON COLUMN ledger_entry.damaged_delta IS 'change of damaged';
COMMENT ON COLUMN ledger_entry.quality_control_delta IS 'change of quality_control';
COMMENT ON COLUMN ledger_entry.held_delta IS 'change of held';
COMMENT ON COLUMN ledger_entry.reserved_delta IS 'change of reserved';
COMMENT ON COLUMN ledger_entry.committed_delta IS 'change of committed';
COMMENT ON COLUMN ledger_entry.safety_stock_delta IS 'change of safety_stock';
COMMENT ON COLUMN ledger_entry.incoming_delta IS 'change of incoming';
COMMENT ON COLUMN ledger_entry.on_hand IS 'on_hand after it';
COMMENT ON COLUMN ledger_entry.damaged IS 'damaged after it';
COMMENT ON COLUMN ledger_entry.quality_control IS 'quality_control after it';
COMMENT ON COLUMN ledger_entry.held IS 'held after it';
COMMENT ON COLUMN ledger_entry.reserved IS 'reserved after it';
COMMENT ON COLUMN ledger_entry.committed IS 'committed after it';
COMMENT ON COLUMN ledger_entry.safety_stock IS 'safety_stock after it';
COMMENT ON COLUMN ledger_entry.incoming IS 'incoming after it';
COMMENT ON COLUMN ledger_entry.reason IS 'why, where the command had to say';
COMMENT ON COLUMN ledger_entry.note IS 'the command''s note';
COMMENT ON COLUMN ledger_entry.reference IS 'the command''s reference';
COMMENT ON COLUMN ledger_entry.reservation_id IS 'reservation that it was done for';
COMMENT ON COLUMN ledger_entry.line IS 'line of it';
COMMENT ON COLUMN ledger_entry.order_id IS 'order that it was done for';
COMMENT ON COLUMN ledger_entry.shipment_id IS 'shipment that it was done for';
COMMENT ON COLUMN ledger_entry.return_id IS 'return that it was done for';
COMMENT ON COLUMN ledger_entry.transfer_id IS 'transfer that it was done for';
COMMENT ON COLUMN ledger_entry.signals IS 'bounds that available passed';
COMMENT ON COLUMN ledger_entry.actor IS 'who sent the command';
COMMENT ON COLUMN ledger_entry.command_id IS 'the command';
COMMENT ON COLUMN ledger_entry.partition IS 'partition of the command and the event';
COMMENT ON COLUMN ledger_entry.command_offset IS 'offset of the command in stock.commands';
COMMENT ON COLUMN ledger_entry.recorded_at IS 'when it was decided';

CREATE TABLE reservation (
    reservation_id text COLLATE "C" PRIMARY KEY,
    state          text COLLATE "C" NOT NULL,
    owner          text,
    order_id       text COLLATE "C",
    ttl_s          bigint NOT NULL,
    attempt        bigint NOT NULL,
    pending        bigint NOT NULL,
    expires_at     timestamptz,
    version        bigint NOT NULL CHECK (version > 0),
    updated_at     timestamptz NOT NULL
) WITH (fillfactor = 80);
COMMENT ON TABLE reservation IS 'reservations as their last event left them';
COMMENT ON COLUMN reservation.reservation_id IS 'key of the reservation';
COMMENT ON COLUMN reservation.state IS 'HOLDING, CONFIRMED, COMMITTED, FULFILLED, FAILED, RELEASED or EXPIRED';
COMMENT ON COLUMN reservation.owner IS 'whom it is for';
COMMENT ON COLUMN reservation.order_id IS 'order that it became';
COMMENT ON COLUMN reservation.ttl_s IS 'seconds that it lasts, once confirmed; 0: never requested';
COMMENT ON COLUMN reservation.attempt IS 'attempt to hold the lines; 0: never requested';
COMMENT ON COLUMN reservation.pending IS 'lines that are still to be held';
COMMENT ON COLUMN reservation.expires_at IS 'when it expires without an order';
COMMENT ON COLUMN reservation.version IS 'counts its changes, from 1';
COMMENT ON COLUMN reservation.updated_at IS 'when it changed last';

CREATE TABLE reservation_line (
    reservation_id      text COLLATE "C" NOT NULL REFERENCES reservation,
    line                integer NOT NULL CHECK (line > 0),
    sku                 text COLLATE "C" NOT NULL REFERENCES sku,
    quantity            bigint NOT NULL,
    shipped             bigint NOT NULL,
    state               text COLLATE "C" NOT NULL,
    warehouses          text[] NOT NULL,
    warehouse           text COLLATE "C" REFERENCES warehouse,
    position            text COLLATE "C",
    code                text COLLATE "C",
    available           bigint,
    reservation_version bigint NOT NULL CHECK (reservation_version > 0),
    PRIMARY KEY (reservation_id, line)
) WITH (fillfactor = 80);
COMMENT ON TABLE reservation_line IS 'what a reservation asks for, and what became of it';
COMMENT ON COLUMN reservation_line.reservation_id IS 'reservation';
COMMENT ON COLUMN reservation_line.line IS 'number of the line, from 1';
COMMENT ON COLUMN reservation_line.sku IS 'SKU';
COMMENT ON COLUMN reservation_line.quantity IS 'units asked for';
COMMENT ON COLUMN reservation_line.shipped IS 'units that left';
COMMENT ON COLUMN reservation_line.state IS 'WAITING, PENDING, HELD or REFUSED';
COMMENT ON COLUMN reservation_line.warehouses IS 'where from, best first; empty: from any';
COMMENT ON COLUMN reservation_line.warehouse IS 'where it is held';
COMMENT ON COLUMN reservation_line.position IS 'command that held it';
COMMENT ON COLUMN reservation_line.code IS 'why it was refused';
COMMENT ON COLUMN reservation_line.available IS 'what there was at most, when it was refused';
COMMENT ON COLUMN reservation_line.reservation_version IS 'version of the reservation that changed it last';

CREATE TABLE transfer (
    transfer_id    text COLLATE "C" PRIMARY KEY,
    state          text COLLATE "C" NOT NULL,
    sku            text COLLATE "C" NOT NULL REFERENCES sku,
    quantity       bigint NOT NULL,
    from_warehouse text COLLATE "C" NOT NULL REFERENCES warehouse,
    to_warehouse   text COLLATE "C" NOT NULL REFERENCES warehouse,
    received       bigint NOT NULL,
    returned       bigint NOT NULL,
    lost           bigint NOT NULL,
    version        bigint NOT NULL CHECK (version > 0),
    updated_at     timestamptz NOT NULL
) WITH (fillfactor = 80);
COMMENT ON TABLE transfer IS 'transfers between warehouses as their last event left them';
COMMENT ON COLUMN transfer.transfer_id IS 'key of the transfer';
COMMENT ON COLUMN transfer.state IS 'DISPATCHING, IN_TRANSIT, PARTIALLY_RECEIVED, RECEIVED, CANCELLED or FAILED';
COMMENT ON COLUMN transfer.sku IS 'SKU';
COMMENT ON COLUMN transfer.quantity IS 'units that left, or are to';
COMMENT ON COLUMN transfer.from_warehouse IS 'warehouse that they leave';
COMMENT ON COLUMN transfer.to_warehouse IS 'warehouse that they go to';
COMMENT ON COLUMN transfer.received IS 'of them arrived';
COMMENT ON COLUMN transfer.returned IS 'of them back where they came from';
COMMENT ON COLUMN transfer.lost IS 'of them lost';
COMMENT ON COLUMN transfer.version IS 'counts its changes, from 1';
COMMENT ON COLUMN transfer.updated_at IS 'when it changed last';
