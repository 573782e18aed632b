// tests/contract/differential.mjs - the same queries to tally and to npm `graphql`.
// differential.mjs BASE_URL FOLDER_OF_DOCUMENTS NAMES_AS_JSON
// Documents that the reference refuses must be refused by tally in the same words; those that it
// takes must be answered alike, unless a limit of tally's says otherwise.
import { readFileSync, readdirSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { buildClientSchema, execute, getIntrospectionQuery, getVariableValues, parse, validate } from 'graphql';

import { Reference } from './reference.mjs';

const [base, folder, names] = process.argv.slice(2);
const { sku, other, warehouse, product, slug, reservation, command, refused } = JSON.parse(names);
const LIMITS = /at most \d|expected first to be|too many fields|too many tokens|numbers are whole|cannot represent "noon"/;
let checks = 0;
let failures = 0;

function check(holds, name, ...facts) {
  checks += 1;
  if (!holds) {
    failures += 1;
    console.log(`differential: ${name}: ${facts.map((fact) => JSON.stringify(fact)).join('\n    ')}`);
  }
}

async function ask(query, variables) {
  const answer = await fetch(`${base}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/graphql-response+json' },
    body: JSON.stringify({ query, variables }),
  });
  return { status: answer.status, ...(await answer.json()) };
}

const introspected = await ask(getIntrospectionQuery({ descriptions: true, inputValueDeprecation: true,
  specifiedByUrl: true, directiveIsRepeatable: true, schemaDescription: true }));
check(introspected.status === 200 && !introspected.errors, 'introspection', introspected);
const schema = buildClientSchema(introspected.data);
const reference = new Reference(base);

// The words, without what the reference guesses of typing errors, and the way that it tells besides.
function words(errors) {
  return errors.map((error) => error.message.replace(/ Did you mean (?!".* \{ \.\.\. \}").*\?$/, '')
    .replace(/ within itself via .*$/, ' within itself.')
    .replace(/^Fields "\w+" conflict because subfields ("\w+") conflict/, 'Fields $1 conflict')).sort();
}

function refusals(document, variables) {
  let parsed;
  try {
    parsed = parse(document);
  } catch (error) {
    return { errors: [error] };
  }
  const errors = validate(schema, parsed);
  if (errors.length > 0) {
    return { errors };
  }
  const [operation, ...more] = parsed.definitions.filter((definition) => definition.kind === 'OperationDefinition');
  if (!operation || more.length > 0) { // the reference says so when it executes
    return { errors: [{ message: operation ? 'Must provide operation name if query contains multiple operations.'
      : 'Must provide an operation.' }] };
  }
  const coerced = getVariableValues(schema, operation.variableDefinitions ?? [], variables ?? {});
  if (!coerced.errors && operation.operation === 'subscription') {
    return { errors: [{ message: 'A subscription is made over a WebSocket, with the subprotocol graphql-transport-ws.' }] };
  }
  return coerced.errors ? { errors: coerced.errors } : { parsed };
}

async function compare(document, variables) {
  const expected = refusals(document, variables);
  const answer = await ask(document, variables);
  if (answer.errors?.some((error) => LIMITS.test(error.message))) {
    check(answer.status === 400 && !('data' in answer), `${document}: a limit`, answer);
    return;
  }
  if (expected.errors) {
    check(answer.status === 400 && !('data' in answer), `${document}: is to be refused`, answer, expected.errors);
    check(isDeepStrictEqual(words(answer.errors ?? []), words(expected.errors)), `${document}: the words`,
      words(answer.errors ?? []), words(expected.errors));
    return;
  }
  const result = await execute({ schema, document: expected.parsed, rootValue: reference.rootValue,
    variableValues: variables });
  check(answer.status === 200, `${document}: status`, answer);
  check(isDeepStrictEqual(answer.data, JSON.parse(JSON.stringify(result.data))), `${document}: data`, answer.data,
    result.data, result.errors);
  const paths = (errors) => (errors ?? []).map((error) => JSON.stringify([error.path, error.locations])).sort();
  check(isDeepStrictEqual(paths(answer.errors), paths(result.errors)), `${document}: errors`, answer.errors,
    result.errors);
}

const LEVEL = 'warehouse version updatedAt lowStockThreshold quantities { name quantity }';
const LEDGER = 'nodes { seq type kind deltas { name quantity } after { name quantity } reason note reference commandId '
  + 'reservationId recordedAt position } pageInfo { hasNextPage }';
const PRODUCT = 'id slug name description status categoryIds attributes media version updatedAt';
const OUTCOME = '... on Accepted { commandId version position duplicate result } ... on Rejected { commandId code '
  + 'retryable detail errors duplicate } ... on Pending { commandId position }';
const queries = [
  ['{ __typename }'],
  [`{ stock(sku: "${sku}") { id sku version available position levels { sku ${LEVEL} } } }`],
  [`{ stock(sku: "${sku}", warehouses: ["${warehouse}"]) { available levels { ${LEVEL} } } }`],
  [`{ stock(sku: "${sku}") { levels { quantities(names: [HELD, AVAILABLE, ON_HAND]) { name quantity } } } }`],
  [`{ stock(sku: "${sku}") { levels { ledger { ${LEDGER} } } } }`],
  [`{ stock(sku: "${sku}") { levels { a: ledger(first: 2) { ${LEDGER} } b: ledger(first: 1, kinds: ["SHIP"]) { ${LEDGER} } } } }`],
  ['{ stock(sku: "NO-SUCH") { id } other: stock(sku: "not a sku!") { id } }'],
  [`{ stocks(skus: ["${sku}", "NO-SUCH", "${other}", "${sku}"]) { sku available product { slug } } }`],
  ['query ($skus: [ID!]!) { stocks(skus: $skus) { sku levels { warehouse } } }', { skus: [sku, other] }],
  ['query ($skus: [ID!]!) { stocks(skus: $skus) { sku } }', { skus: other }],
  [`{ product(id: "${product}") { ${PRODUCT} variants { sku options } } }`],
  [`{ product(slug: "${slug}") { id variants { sku product { slug variants { sku } } stock { sku available } } } }`],
  [`{ product(id: "${product}") { variants { price(currency: "EUR") { amountMinor currency compareAtMinor validUntil } `
    + 'none: price(currency: "USD") { currency } old: price(currency: "EUR", at: "2001-01-01T00:00:00.000Z", list: "vip") '
    + '{ amountMinor } } } }'],
  [`query ($c: String = "EUR", $w: [ID!]) { product(id: "${product}") { variants { price(currency: $c) { currency } `
    + 'stock(warehouses: $w) { levels { warehouse } } } } }', { w: [warehouse] }],
  ['{ product(slug: "no-such") { id } id: product(id: "NO-SUCH") { id } }'],
  [`{ product { id } both: product(id: "${product}", slug: "${slug}") { id } }`],
  [`{ reservation(id: "${reservation}") { id state owner orderId expiresAt version lines { line sku quantity warehouse `
    + 'state shipped } } none: reservation(id: "NO-SUCH") { id } }'],
  ['{ lowStock(first: 200) { nodes { sku warehouse severity available lowStockThreshold } pageInfo { hasNextPage } } }'],
  [`{ lowStock(first: 1) { nodes { sku severity } pageInfo { hasNextPage } } w: lowStock(first: 5, warehouse: "${warehouse}") `
    + '{ nodes { sku } } }'],
  [`{ a: command(id: "${command}") { __typename ${OUTCOME} } b: command(id: "${refused}") { __typename ${OUTCOME} } `
    + 'c: command(id: "no-such") { __typename } }'],
  [`{ a: node(id: "Stock:${sku}") { __typename id ... on Stock { available } ... on Product { slug } } `
    + `b: node(id: "Product:${product}") { id ... on Product { slug } } c: node(id: "Reservation:${reservation}") { id } `
    + 'd: node(id: "Nothing:X") { id } e: node(id: "X") { id } f: node(id: "Stock:NO-SUCH") { id } }'],
  [`query Q($s: ID!, $yes: Boolean!) { stock(sku: $s) { ...A @include(if: $yes) ...B @skip(if: $yes) ... on Node { id } } } `
    + 'fragment A on Stock { sku levels { warehouse } } fragment B on Stock { version }', { s: sku, yes: true }],
  [`query Q($s: ID!, $yes: Boolean!) { stock(sku: $s) { ...A @include(if: $yes) ...B @skip(if: $yes) } } `
    + 'fragment A on Stock { sku } fragment B on Stock { version }', { s: sku, yes: false }],
  [`{ stock(sku: "${sku}") { levels { version } } ...F } fragment F on Query { stock(sku: "${sku}") { levels { warehouse } id } }`],
  ['{ __type(name: "Stock") { kind name fields { name type { kind name ofType { kind name } } args { name defaultValue } } } }'],
  ['{ __schema { queryType { name } mutationType { name } subscriptionType { name } directives { name locations } } }'],
  ['{ __type(name: "CommandOutcome") { kind possibleTypes { name } fields { name } enumValues { name } interfaces { name } } }'],
  ['{ __type(name: "Severity") { enumValues { name isDeprecated deprecationReason } ofType { name } specifiedByURL } }'],
];
for (const [query, variables] of queries) {
  await compare(query, variables);
}
for (const name of readdirSync(folder).sort()) {
  const text = readFileSync(`${folder}/${name}`);
  const [document, variables] = text.toString('utf8').split('\0');
  // Mutations would change what the others read; of types tally's parser knows nothing.
  if (Buffer.from(text.toString('utf8')).equals(text) && !/mutation|^(extend )?type /.test(document)) {
    await compare(document, variables ? JSON.parse(variables) : undefined);
  }
}
console.log(`${Math.floor((100 * (checks - failures)) / checks)}%: Checks: ${checks}, Failures: ${failures}, Errors: 0`);
process.exit(failures > 0 ? 1 : 0);
