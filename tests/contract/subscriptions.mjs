// tests/contract/subscriptions.mjs - subscriptions, queries and mutations over a WebSocket, by the client of npm
// `graphql-ws`. subscriptions.mjs BASE_URL
// What is told of a level is what REST answers of it at that version.
import { isDeepStrictEqual } from 'node:util';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';

const [base] = process.argv.slice(2);
let checks = 0;
let failures = 0;

function check(holds, name, ...facts) {
  checks += 1;
  if (!holds) {
    failures += 1;
    console.log(`subscriptions: ${name}: ${facts.map((fact) => JSON.stringify(fact)).join('\n    ')}`);
  }
}

async function rest(path, body, id) {
  const answer = await fetch(base + path, body && { method: 'POST', body: JSON.stringify(body),
    headers: { 'content-type': 'application/json', prefer: 'wait=30', 'idempotency-key': id } });
  return answer.json();
}

let number = 0;
async function send(type, fields) {
  number += 1;
  const answer = await rest(`/v1/commands/${type}`, fields, `ws-${number}`);
  check(answer.status === 'ACCEPTED', type, answer);
  return answer;
}
const receive = (sku, quantity, warehouse = 'AMS1') => send('ReceiveStock', { sku, warehouse, quantity });

const client = createClient({ url: `${base.replace('http', 'ws')}/graphql`, webSocketImpl: WebSocket, retryAttempts: 0 });

// What an operation is told, one after the other; `fails` is what it ends with.
function open(query, variables) {
  const told = [];
  let wake = () => {};
  const state = { ended: false, fails: null };
  const done = (error) => {
    state.ended = true;
    state.fails = error ?? null;
    wake();
  };
  const dispose = client.subscribe({ query, variables }, { next: (result) => { told.push(result); wake(); }, error: done,
    complete: () => done() });
  const next = async () => {
    while (told.length === 0 && !state.ended) {
      await new Promise((resolve) => { wake = resolve; });
    }
    return told.shift();
  };
  return { next, dispose, state, told };
}

async function ended(operation) {
  while (await operation.next()) { /* what it was told before does not matter */ }
  return operation.state.fails;
}

const LEVEL = 'sku warehouse version updatedAt lowStockThreshold quantities { name quantity }';
const CHANGED = `subscription ($skus: [ID!]!, $from: String) { stockChanged(skus: $skus, from: $from) { __typename ${LEVEL} } }`;

async function same(result, name) {
  const told = result?.data?.stockChanged;
  const wanted = await rest(`/v1/stock/${told?.sku}/${told?.warehouse}`);
  const quantities = Object.fromEntries((told?.quantities ?? []).map((item) => [item.name.toLowerCase(), item.quantity]));
  const { sku, warehouse, version, updated_at: updatedAt, low_stock_threshold: lowStockThreshold, ...rows } = wanted;
  check(isDeepStrictEqual({ ...told, quantities: [] },
    { __typename: 'StockLevel', sku, warehouse, version, updatedAt, lowStockThreshold, quantities: [] }), name, told, wanted);
  check(Object.entries(quantities).length === 10
    && Object.entries(quantities).every(([bucket, quantity]) => rows[bucket] === quantity), `${name}: its numbers`, told, wanted);
  check(/stock\.events\/\d+@\d+$/.test(result?.extensions?.position ?? ''), `${name}: its position`, result);
}

async function levels() {
  const skus = ['WS-1', 'WS-2'];
  for (const sku of [...skus, 'WS-3']) {
    await send('RegisterSku', { sku });
    await receive(sku, 5);
  }
  const follow = open(CHANGED, { skus, from: 'snapshot' });
  const first = [await follow.next(), await follow.next()];
  check(isDeepStrictEqual(first.map((result) => result?.data?.stockChanged?.sku).sort(), skus), 'a snapshot', first);
  for (const result of first) {
    await same(result, 'what is there already');
  }
  await send('ConfigureStock', { sku: 'WS-1', warehouse: 'AMS1', low_stock_threshold: 3 });
  await same(await follow.next(), 'a setting');
  let last;
  for (const sku of ['WS-1', 'WS-2', 'WS-1']) {
    await receive('WS-3', 1); // nobody follows it
    await receive(sku, 1);
    last = await follow.next();
    check(last?.data?.stockChanged?.sku === sku && last?.extensions?.conflated === false, 'a change', last);
    await same(last, 'a change');
  }
  follow.dispose();
  check(await ended(follow) === null, 'completed by the client', follow.state);
  // what happens meanwhile comes later, in order
  const before = last.data.stockChanged.version;
  await receive('WS-1', 1);
  await receive('WS-1', 2, 'BER1');
  await receive('WS-1', 3);
  const again = open(CHANGED, { skus: ['WS-1'], from: last.extensions.position });
  const told = [await again.next(), await again.next(), await again.next()].map((result) => result?.data?.stockChanged);
  check(isDeepStrictEqual(told.map((level) => [level?.warehouse, level?.version]),
    [['AMS1', before + 1], ['BER1', 1], ['AMS1', before + 2]]), 'resumed', told, before);
  again.dispose();
}

async function reads() {
  const follow = open('subscription ($s: ID!) { stockChanged(skus: [$s], from: "snapshot") { version ledger(first: 1) '
    + '{ nodes { seq kind } } } }', { s: 'WS-1' });
  const first = await follow.next();
  check(first?.data?.stockChanged?.ledger?.nodes?.length === 1 && !first.errors, 'the ledger of a level', first);
  follow.dispose();
}

async function reservations() {
  const FIELDS = 'id state owner orderId expiresAt version lines { line sku quantity warehouse state shipped }';
  await send('ReserveStock', { reservation_id: 'R-WS', owner: 'cart-9', lines: [{ sku: 'WS-2', quantity: 2 }] });
  const follow = open(`subscription { reservationChanged(id: "R-WS") { ${FIELDS} } }`);
  let heard = false;
  const first = follow.next().then((result) => { heard = true; return result; });
  for (let ttl = 1000; !heard && ttl < 1600; ttl += 1) { // until it is there, changes are not told
    await send('ExtendReservation', { reservation_id: 'R-WS', ttl_s: ttl });
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
  check((await first)?.data?.reservationChanged?.state === 'CONFIRMED', 'a reservation', await first, follow.state);
  await send('ReleaseReservation', { reservation_id: 'R-WS' });
  let last;
  do {
    last = (await follow.next())?.data?.reservationChanged;
  } while (last && last.state !== 'RELEASED');
  const now = await rest(`/v1/reservations/R-WS`);
  check(last?.version === now.version && last?.id === 'Reservation:R-WS' && last?.lines?.length === 1, 'released', last, now);
  follow.dispose();
}

async function others() {
  const query = open('{ stock(sku: "WS-1") { available } }');
  const answer = await query.next();
  check(answer?.data?.stock?.available > 0 && answer.extensions.cost === 1, 'a query', answer);
  check(await ended(query) === null, 'it is complete', query.state);
  const mutation = open('mutation ($f: JSON!) { submit(type: "ReceiveStock", commandId: "ws-m", fields: $f, waitMs: 30000) '
    + '{ __typename } }', { f: { sku: 'WS-2', warehouse: 'AMS1', quantity: 1 } });
  check(isDeepStrictEqual((await mutation.next())?.data, { submit: { __typename: 'Accepted' } }), 'a mutation');
  const schema = open('{ __schema { subscriptionType { name fields { name } } } }');
  check(isDeepStrictEqual((await schema.next())?.data?.__schema?.subscriptionType,
    { name: 'Subscription', fields: [{ name: 'stockChanged' }, { name: 'reservationChanged' }] }), 'the schema');
  const far = 'stock.events/0@1000000000';
  const topic = (await rest('/v1/ops/tasks')).items.find((task) => task.topology === 'stock').position
    .replace(/stock\.commands.*/, far);
  const skus = Array.from({ length: 201 }, (_, at) => `S-${at}`);
  for (const [name, text, variables, code, words] of [
    ['rules', 'subscription { stockChanged(skus: ["A"]) { nothing } }', {}, 'INVALID_PARAMETER', /Cannot query field/],
    ['two fields', 'subscription { a: stockChanged(skus: ["A"]) { sku } b: stockChanged(skus: ["A"]) { sku } }', {},
      'INVALID_PARAMETER', /only one top level field/],
    ['syntax', 'subscription {', {}, 'MALFORMED_REQUEST', /Syntax Error/],
    ['a variable', CHANGED, {}, 'INVALID_PARAMETER', /\$skus/],
    ['too many SKUs', CHANGED, { skus }, 'INVALID_PARAMETER', /200/],
    ['no SKU', CHANGED, { skus: [] }, 'INVALID_PARAMETER', /one or more/],
    ['an empty SKU', CHANGED, { skus: [''] }, 'INVALID_PARAMETER', /128 bytes/],
    ['no position', CHANGED, { skus: ['A'], from: 'yesterday' }, 'INVALID_PARAMETER', /positions/],
    ['a position out of reach', CHANGED, { skus: ['A', 'B', 'C', 'D', 'E', 'F'], from: topic }, 'RESYNC_REQUIRED', /snapshot/],
    ['too deep', `{ stock(sku: "A") ${'{ product { variants { stock '.repeat(4)} { id } ${'} } }'.repeat(4)} }`, {},
      'INVALID_PARAMETER', /levels of fields/],
  ]) {
    const errors = await ended(open(text, variables));
    check(Array.isArray(errors) && errors[0].extensions.code === code && words.test(errors[0].message), name, errors);
  }
}

const patience = setTimeout(() => {
  console.log(`subscriptions: nothing comes any more\n0%: Checks: ${checks + 1}, Failures: ${failures + 1}, Errors: 0`);
  process.exit(1);
}, 120000);
for (const part of [levels, reads, reservations, others]) {
  await part();
}
await client.dispose();
clearTimeout(patience);
console.log(`${Math.floor((100 * (checks - failures)) / checks)}%: Checks: ${checks}, Failures: ${failures}, Errors: 0`);
process.exit(failures > 0 ? 1 : 0);
