/* schemas/reservation_records.c - the tables of the reservation topology's records. */
#include "schemas/reservation_records.h"

#include <inttypes.h>
#include <stdio.h>

#include "schemas/row_internal.h"
#include "schemas/row_json_internal.h"
#include "schemas/serde_table.h"

const char *const reservation_state_names[] = {
        "HOLDING", "CONFIRMED", "COMMITTED", "FULFILLED", "FAILED", "RELEASED", "EXPIRED", NULL};
const char *const reservation_line_state_names[] = {"WAITING", "PENDING", "HELD", "REFUSED", NULL};

/* --- parts ------------------------------------------------------------------------------------ */

#define PART(name_, struct_, fields_, help_)                                                       \
    {                                                                                              \
        .name = (name_), .fields = (fields_), .field_count = sizeof(fields_) / sizeof(fields_)[0], \
        .size = sizeof(struct_), .help = (help_)                                                   \
    }
#define WAREHOUSES_MAX 64 /* as HoldStock takes them */

#define ASKED(bit, member, name, type, presence, help) \
    FIELD_ROW(struct reservation_asked, RESERVATION_ASKED_##bit, member, name, type, presence, help)
static const struct tally_field asked_fields[] = {
        ASKED(SKU, sku, "sku", ID, REQUIRED, "stock keeping unit")                               //
        ASKED(QUANTITY, quantity, "quantity", INT(1, QUANTITY_MAX), REQUIRED, "units wanted")    //
        ASKED(WAREHOUSE, warehouse, "warehouse", WAREHOUSE_CODE, OPTIONAL, "the only warehouse") //
        ASKED(WAREHOUSES, warehouses, "warehouses", NAMES(WAREHOUSE, 0, WAREHOUSES_MAX), OPTIONAL,
                "warehouses, best first; empty, as without both: any that is open") //
};
static const struct tally_schema asked_schema =
        PART("AskedLine", struct reservation_asked, asked_fields, "what is wanted of a SKU");

#define LINE(bit, member, name, type, presence, help) \
    FIELD_ROW(struct reservation_line, RESERVATION_LINE_##bit, member, name, type, presence, help)
static const struct tally_field line_fields[] = {
        LINE(NUMBER, line, "line", INT(1, 65535), REQUIRED, "number of the line, from 1")    //
        LINE(SKU, sku, "sku", ID, REQUIRED, "stock keeping unit")                            //
        LINE(QUANTITY, quantity, "quantity", INT(1, QUANTITY_MAX), REQUIRED, "units wanted") //
        LINE(WAREHOUSES, warehouses, "warehouses", NAMES(WAREHOUSE, 0, WAREHOUSES_MAX), REQUIRED,
                "warehouses, best first; empty: any")                                             //
        LINE(STATE, state, "state", ENUM(reservation_line_state_names), REQUIRED, "its state")    //
        LINE(SHIPPED, shipped, "shipped", INT(0, QUANTITY_MAX), REQUIRED, "units that left")      //
        LINE(WAREHOUSE, warehouse, "warehouse", WAREHOUSE_CODE, OPTIONAL, "where it is held")     //
        LINE(POSITION, position, "position", TEXT(1, 300), OPTIONAL, "position of its HoldStock") //
        LINE(CODE, code, "code", TEXT(1, 64), OPTIONAL, "why it is not held")                     //
        LINE(AVAILABLE, available, "available", ANY_INT, OPTIONAL, "what was available at most")  //
};
static const struct tally_schema line_schema =
        PART("ReservationLine", struct reservation_line, line_fields, "a line of a reservation");

static const struct tally_field timer_fields[] = {
        FIELD_ROW(struct reservation_timer, RESERVATION_TIMER_CLEAR, clear, "clear", TIME, OPTIONAL,
                "the timer of this time is cleared") //
        FIELD_ROW(struct reservation_timer, RESERVATION_TIMER_SET, set, "set", TIME, OPTIONAL,
                "a timer is set to this time") //
};
static const struct tally_schema timer_schema =
        PART("Timer", struct reservation_timer, timer_fields, "when tally is to come back");

static const struct tally_field op_fields[] = {
        OPERATION_ROWS(struct reservation_op, operation) //
        FIELD_ROW(struct reservation_op, RESERVATION_OP_DEADLINE, deadline, "deadline", TIME,
                OPTIONAL, "after this time nothing more is held") //
        FIELD_ROW(struct reservation_op, RESERVATION_OP_DUE_AT, due_at, "due_at", TIME, REQUIRED,
                "when the attempt times out") //
};
static const struct tally_schema op_schema =
        PART("Operation", struct reservation_op, op_fields, "the ReserveStock being carried out");

/* --- rules between fields --------------------------------------------------------------------- */

static void check_reserve(const void *record, struct tally_violations *violations)
{
    const struct reservation_command *command = record;
    const struct reservation_asked *asked = command->lines.items;
    const uint64_t both =
            TALLY_BIT(RESERVATION_ASKED_WAREHOUSE) | TALLY_BIT(RESERVATION_ASKED_WAREHOUSES);

    for (size_t i = 0; i < command->lines.count; i++) {
        char pointer[48];

        if ((asked[i].presence.present & both) == both) {
            (void)snprintf(pointer, sizeof pointer, "/lines/%zu/warehouses", i);
            tally_violate(violations, pointer, "NOT_ALLOWED",
                    "warehouse and warehouses exclude each other");
        }
    }
}

/* --- records ---------------------------------------------------------------------------------- */

#define STRUCT      struct reservation_command
#define BIT_OF(bit) RESERVATION_HAS_##bit
#include "schemas/serde_fields.def"
#include "schemas/reservation_command.def"
#include "schemas/serde_schemas.def"
#include "schemas/reservation_command.def"
#undef STRUCT
#undef BIT_OF

#define STRUCT      struct reservation_event
#define BIT_OF(bit) RESERVATION_EVENT_##bit
#include "schemas/serde_fields.def"
#include "schemas/reservation_event.def"
#include "schemas/serde_schemas.def"
#include "schemas/reservation_event.def"
#undef STRUCT
#undef BIT_OF

const struct tally_schema *const reservation_command_schemas[] = {
        [RESERVATION_HOLD_REPLY] = &schema_RESERVATION_HOLD_REPLY,
        [RESERVATION_HOLD_SHIPPED] = &schema_RESERVATION_HOLD_SHIPPED,
        [RESERVATION_RESERVE] = &schema_RESERVATION_RESERVE,
        [RESERVATION_EXTEND] = &schema_RESERVATION_EXTEND,
        [RESERVATION_COMMIT] = &schema_RESERVATION_COMMIT,
        [RESERVATION_RELEASE] = &schema_RESERVATION_RELEASE,
        [RESERVATION_EXPIRE] = &schema_RESERVATION_EXPIRE,
        [RESERVATION_TIME_OUT] = &schema_RESERVATION_TIME_OUT,
        [RESERVATION_COMMAND_TYPES] = NULL,
};

const struct tally_schema *const reservation_event_schemas[] = {
        [RESERVATION_WAS_REQUESTED] = &schema_RESERVATION_WAS_REQUESTED,
        [RESERVATION_LINE_WAS_HELD] = &schema_RESERVATION_LINE_WAS_HELD,
        [RESERVATION_WAS_CONFIRMED] = &schema_RESERVATION_WAS_CONFIRMED,
        [RESERVATION_WAS_RETRIED] = &schema_RESERVATION_WAS_RETRIED,
        [RESERVATION_DID_FAIL] = &schema_RESERVATION_DID_FAIL,
        [RESERVATION_WAS_EXTENDED] = &schema_RESERVATION_WAS_EXTENDED,
        [RESERVATION_WAS_COMMITTED] = &schema_RESERVATION_WAS_COMMITTED,
        [RESERVATION_WAS_RELEASED] = &schema_RESERVATION_WAS_RELEASED,
        [RESERVATION_DID_EXPIRE] = &schema_RESERVATION_DID_EXPIRE,
        [RESERVATION_WAS_SHIPPED] = &schema_RESERVATION_WAS_SHIPPED,
        [RESERVATION_WAS_FULFILLED] = &schema_RESERVATION_WAS_FULFILLED,
        [RESERVATION_EVENT_TYPES] = NULL,
};

/* The operation is kept as the document that events carry: it is read once or twice. */
void reservation_op_pack(const struct reservation_op *op, struct tally_buf *row)
{
    tally_encode(&op_schema, op, TALLY_FORMAT_MSGPACK, row);
}

bool reservation_op_unpack(struct tally_slice row, struct tally_arena *arena,
        struct reservation_op *op)
{
    return row_document(row, &op_schema, arena, op);
}

/* --- rows as JSON ----------------------------------------------------------------------------- */

static bool header_json(struct tally_slice row, struct tally_arena *arena,
        struct tally_writer *writer)
{
    struct reservation_row header;

    (void)arena;
    if (!reservation_unpack(row, &header)) {
        return false;
    }
    tally_write_map(writer, 9);
    row_json_text(writer, "state", tally_slice_string(reservation_state_names[header.state]));
    row_json_int(writer, "version", header.version);
    row_json_text_or_null(writer, "owner", header.owner);
    row_json_int(writer, "ttl_s", header.ttl_s);
    row_json_int(writer, "attempt", header.attempt);
    row_json_int(writer, "pending", header.pending);
    row_json_time_or_null(writer, "expires_at", header.expires_at);
    row_json_text_or_null(writer, "order_id", header.order_id);
    row_json_time(writer, "updated_at", header.updated_at);
    return true;
}

static bool line_json(struct tally_slice row, struct tally_arena *arena,
        struct tally_writer *writer)
{
    struct reservation_line line;

    if (!reservation_line_unpack(row, arena, &line)) {
        return false;
    }
    tally_encode(&line_schema, &line, writer->format, writer->out);
    return true;
}

static bool op_json(struct tally_slice row, struct tally_arena *arena, struct tally_writer *writer)
{
    struct reservation_op op;

    if (!reservation_op_unpack(row, arena, &op)) {
        return false;
    }
    tally_encode(&op_schema, &op, writer->format, writer->out);
    return true;
}

static bool timer_json(struct tally_slice row, struct tally_arena *arena,
        struct tally_writer *writer)
{
    struct reservation_timer_row timer;

    (void)arena;
    if (!reservation_timer_unpack(row, &timer)) {
        return false;
    }
    tally_write_map(writer, 2);
    row_json_text(writer, "state", tally_slice_string(reservation_state_names[timer.state]));
    row_json_int(writer, "attempt", timer.attempt);
    return true;
}

const struct row_json_store reservation_row_stores[] = {{"reservation", header_json},
        {"line", line_json}, {"operation", op_json}, {"timer", timer_json}, {NULL, NULL}};
