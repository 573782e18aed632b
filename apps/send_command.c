/* apps/send_command.c - finds the topology that knows the type and checks the fields as the engine
 * will, so that a typing mistake is named at once and not by a rejection later.
 *  (1) What is sent are the bytes of the line; only a missing command id is put in front. */
#include "apps/send_command.h"

#include "schemas/envelope.h"

/* Puts the id into the object as its first member: "id" in the long form, which has a payload. */
static struct tally_slice with_id(const struct send_rules *rules, struct tally_slice line,
        const struct tally_token *root, struct tally_arena *arena)
{
    const uint8_t *brace = memchr(line.data, '{', line.len);
    size_t rest = line.len - (size_t)(brace + 1 - line.data);
    struct tally_slice text;
    struct tally_buf buf;
    char id[UUID_V7_LEN + 1];

    uuid_v7_next(rules->ids, rules->now_ms, id);
    tally_buf_init(&buf, line.len + 128);
    tally_buf_format(&buf, "{\"%s\":\"%s\"%s",
            tally_token_member(root, "payload") ? "id" : "command_id", id, root->count ? "," : "");
    tally_buf_append(&buf, brace + 1, rest);
    text = tally_arena_copy(arena, tally_buf_bytes(&buf));
    tally_buf_deinit(&buf);
    return text;
}

/* Decodes with the types of the topology that has this command's type. */
static enum tally_code decode(const struct send_rules *rules, struct tally_slice value,
        struct tally_arena *arena, struct tally_command *decoded, const char **topic,
        struct tally_error *err)
{
    enum tally_refusal refusal;

    for (size_t i = 0; i < rules->topology_count; i++) {
        const struct tally_aggregate *aggregate = tally_topology_aggregate(rules->topologies[i]);
        enum tally_code code = aggregate ? tally_command_decode(value, aggregate->command_types,
                                                   arena, decoded, &refusal, err)
                                         : TALLY_OK;

        if (code) {
            return code;
        }
        if (decoded->schema) {
            *topic = tally_topology_commands(rules->topologies[i]);
            break;
        }
    }
    if (!decoded->schema) {
        return tally_error_set(err, TALLY_BAD_RECORD,
                "unknown type \"%.*s\": \"tally docs records\" lists them", (int)decoded->type.len,
                (const char *)decoded->type.data);
    }
    if (decoded->schema->internal) {
        return tally_error_set(err, TALLY_BAD_RECORD,
                "\"%s\" is a command that only tally itself sends", decoded->schema->name);
    }
    return TALLY_OK;
}

enum tally_code send_command_prepare(const struct send_rules *rules, struct tally_slice line,
        struct tally_arena *arena, struct send_command *command, struct tally_error *err)
{
    const struct tally_token *root;
    struct tally_command decoded = {.schema = NULL};
    enum tally_refusal refusal;
    enum tally_code code = tally_document_parse(line, arena, &root, &refusal, err);

    if (code) {
        return code;
    }
    if (root->type != TALLY_MAP) {
        return tally_error_set(err, TALLY_BAD_RECORD, "expected a JSON object on one line");
    }
    command->value = line;
    if (!tally_token_member(root, "command_id") && !tally_token_member(root, "id")) {
        if (rules->require_id) {
            return tally_error_set(err, TALLY_BAD_RECORD, "\"command_id\" is missing");
        }
        command->value = with_id(rules, line, root, arena);
    }
    code = decode(rules, command->value, arena, &decoded, &command->topic, err);
    if (code) {
        return code;
    }
    command->type = decoded.type;
    if (decoded.violations && decoded.violations->count > 0) {
        const struct tally_violation *first = &decoded.violations->items[0];

        return tally_error_set(err, TALLY_BAD_RECORD, "%s: %s %s", first->pointer, first->code,
                first->detail);
    }
    if (!tally_command_key(&decoded, arena, &command->key)) {
        return tally_error_set(err, TALLY_BAD_RECORD,
                "\"%s\" is missing, which is the record's key", decoded.schema->key_field);
    }
    return TALLY_OK;
}
