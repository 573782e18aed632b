// tests/contract/audit.mjs - the audit of GraphQL over HTTP. audit.mjs BASE_URL
import { auditServer } from 'graphql-http';

const results = await auditServer({ url: `${process.argv[2]}/graphql` });
const failed = results.filter((result) => result.status !== 'ok' && !result.name.startsWith('MAY'));
for (const result of failed) {
  console.log(`${result.id} ${result.name}: ${result.reason}`);
}
const count = (word) => results.filter((result) => result.name.startsWith(word)).length;
if (count('MUST') < 13 || count('SHOULD') < 20) {
  failed.push(null);
  console.log(`the audit has only ${count('MUST')} MUST and ${count('SHOULD')} SHOULD`);
}
console.log(`100%: Checks: ${results.length}, Failures: ${failed.length}, Errors: 0`);
process.exit(failed.length > 0 ? 1 : 0);
