/* http/graphql/graphql_execute.c - see graphql_execute.h.
 *
 *   cell: PENDING --complete--> VALUE | LIST | OBJECT | NULL;  any --null below it--> NULL
 */
#include "http/graphql/graphql_execute.h"

#include <stdio.h>

#include "engine/base/clock.h"

enum { ROUNDS_MAX = 32 };
#define INT64_EXACT_MAX INT64_C(9007199254740991) /* what a JSON number can say in JavaScript */

enum cell_state { CELL_PENDING, CELL_NULL, CELL_VALUE, CELL_LIST, CELL_OBJECT };

/* A place in the answer. */
struct cell {
    enum cell_state state;
    bool nullable;
    struct cell *parent;             /* NULL: the root */
    struct graphql_planned *planned; /* of a field; NULL: an item of a list */
    size_t index;                    /* of an item */
    struct graphql_out value;
    struct cell *cells; /* LIST: items; OBJECT: its fields */
    size_t count;
    const struct graphql_plan *plan; /* OBJECT */
};

/* An object whose fields are to be asked. */
struct node {
    struct cell *cell;
    const struct graphql_object *object;
    struct node *next;
};

/* A field that is being asked. */
struct task {
    struct cell *cell;
    struct graphql_planned *planned;
    struct graphql_call call;
    const struct graphql_type *parent;
    struct task *next;
};

struct executor {
    const struct graphql_prepared *prepared;
    const struct graphql_execution *execution;
    struct graphql_errors *errors;
    struct graphql_collector collector;
    struct node *first, **last; /* of the next level */
    struct cell root;
    size_t objects;
    bool stopped; /* the answer is null: it took too long, or too much */
};

/* --- errors and nulls ------------------------------------------------------------------------- */

static const struct graphql_path *path_of(struct executor *executor, const struct cell *cell)
{
    struct graphql_path *path;

    if (!cell->parent) {
        return NULL;
    }
    path = tally_arena_alloc(executor->errors->arena, sizeof *path);
    *path = (struct graphql_path){
            .before = path_of(executor, cell->parent),
            .key = cell->planned ? cell->planned->key : TALLY_NONE,
            .index = cell->index,
    };
    return path;
}

static struct graphql_planned *planned_of(const struct cell *cell)
{
    while (!cell->planned) {
        cell = cell->parent;
    }
    return cell->planned;
}

/* The cell has no value; so has what may not be without it. */
static void set_null(struct cell *cell)
{
    while (!cell->nullable && cell->parent) {
        cell->state = CELL_NULL;
        cell = cell->parent;
    }
    cell->state = CELL_NULL;
}

static bool is_dead(const struct cell *cell)
{
    for (; cell; cell = cell->parent) {
        if (cell->state == CELL_NULL) {
            return true;
        }
    }
    return false;
}

static void fail(struct executor *executor, struct cell *cell, const char *code,
        struct tally_slice message)
{
    struct graphql_error *error = graphql_errors_add(executor->errors, code, planned_of(cell)->at,
            "%.*s", (int)message.len, (const char *)message.data);

    if (error) {
        error->path = path_of(executor, cell);
    }
    set_null(cell);
}

static void stop(struct executor *executor, const char *code, const char *message)
{
    if (!executor->stopped) {
        graphql_errors_add(executor->errors, code, (struct graphql_location){0}, "%s", message);
    }
    executor->stopped = true;
    executor->root.state = CELL_NULL;
}

/* --- values ----------------------------------------------------------------------------------- */

static struct cell *make_cells(struct executor *executor, struct cell *parent, size_t count)
{
    struct cell *cells = tally_arena_alloc(executor->errors->arena, (count + 1) * sizeof *cells);

    memset(cells, 0, (count + 1) * sizeof *cells);
    for (size_t i = 0; i < count; i++) {
        cells[i].parent = parent;
        cells[i].index = i;
    }
    parent->cells = cells;
    parent->count = count;
    return cells;
}

static void begin_object(struct executor *executor, struct cell *cell, struct graphql_plan *plan,
        const struct graphql_object *object)
{
    struct node *node = tally_arena_alloc(executor->errors->arena, sizeof *node);
    struct cell *cells = make_cells(executor, cell, plan->count);

    cell->state = CELL_OBJECT;
    cell->plan = plan;
    for (struct graphql_planned *planned = plan->fields; planned; planned = planned->next) {
        cells[planned->index].planned = planned;
        cells[planned->index].nullable = planned->field->type->wrap != GRAPHQL_NON_NULL;
    }
    *node = (struct node){.cell = cell, .object = object};
    *executor->last = node;
    executor->last = &node->next;
    if (++executor->objects > GRAPHQL_OBJECTS_MAX) {
        stop(executor, "BODY_TOO_LARGE",
                "The answer has too many objects: ask for fewer at a time.");
    }
}

static void complete_object(struct executor *executor, struct cell *cell,
        const struct graphql_type *type, const struct graphql_object *object)
{
    const struct graphql_type *concrete =
            graphql_schema_type(executor->prepared->schema, tally_slice_string(object->type));
    struct graphql_planned *planned = planned_of(cell);

    tally_assert(concrete && graphql_schema_is_possible(type, concrete));
    begin_object(executor, cell, graphql_collect(&executor->collector, planned, concrete), object);
}

static void complete_leaf(struct executor *executor, struct cell *cell,
        const struct graphql_type *type, const struct graphql_out *value)
{
    bool is_int = tally_slice_equal(type->name, TALLY_SLICE("Int"));
    char digits[24];

    cell->state = CELL_VALUE;
    cell->value = *value;
    if (value->kind != GRAPHQL_OUT_INT) {
        return;
    }
    if (is_int && (value->integer > INT32_MAX || value->integer < INT32_MIN)) {
        fail(executor, cell, "INTERNAL",
                TALLY_SLICE("Int cannot represent non 32-bit signed integer value."));
    } else if (!is_int && (value->integer > INT64_EXACT_MAX || value->integer < -INT64_EXACT_MAX)) {
        int len = snprintf(digits, sizeof digits, "%lld", (long long)value->integer);

        cell->value = graphql_out_text(tally_arena_copy(executor->errors->arena,
                tally_slice_of(digits, (size_t)len)));
    }
}

static void complete_null(struct executor *executor, struct cell *cell,
        const struct graphql_type *parent)
{
    char text[300];
    int len;

    if (cell->nullable) {
        cell->state = CELL_NULL;
        return;
    }
    len = snprintf(text, sizeof text, "Cannot return null for non-nullable field %.*s.%.*s.",
            (int)parent->name.len, (const char *)parent->name.data,
            (int)planned_of(cell)->field->name.len,
            (const char *)planned_of(cell)->field->name.data);
    fail(executor, cell, "INTERNAL", tally_slice_of(text, (size_t)len));
}

static void complete(struct executor *executor, struct cell *cell,
        const struct graphql_type_ref *type, const struct graphql_type *parent,
        const struct graphql_out *value)
{
    if (type->wrap == GRAPHQL_NON_NULL) {
        type = type->of;
    }
    if (value->kind == GRAPHQL_OUT_NULL) {
        complete_null(executor, cell, parent);
    } else if (value->kind == GRAPHQL_OUT_ERROR) {
        fail(executor, cell, value->code, value->text);
    } else if (type->wrap == GRAPHQL_LIST_OF) {
        struct cell *cells = make_cells(executor, cell, value->count);

        tally_assert(value->kind == GRAPHQL_OUT_LIST);
        cell->state = CELL_LIST;
        for (size_t i = 0; i < value->count; i++) {
            cells[i].nullable = type->of->wrap != GRAPHQL_NON_NULL;
            complete(executor, &cells[i], type->of, parent, &value->items[i]);
        }
    } else if (graphql_schema_is_composite(type->type)) {
        tally_assert(value->kind == GRAPHQL_OUT_OBJECT);
        complete_object(executor, cell, type->type, value->object);
    } else {
        tally_assert(value->kind != GRAPHQL_OUT_OBJECT && value->kind != GRAPHQL_OUT_LIST);
        complete_leaf(executor, cell, type->type, value);
    }
}

/* --- fields ----------------------------------------------------------------------------------- */

static enum graphql_step property(struct graphql_call *call, struct graphql_out *value)
{
    const struct graphql_object *object = call->source;

    for (size_t i = 0; object && i < object->count; i++) {
        if (tally_slice_equal(call->field->name, tally_slice_string(object->properties[i].name))) {
            *value = object->properties[i].value;
            break;
        }
    }
    return GRAPHQL_DONE;
}

/* AGAIN: it is to be asked once more. */
static enum graphql_step ask(struct executor *executor, struct task *task)
{
    struct graphql_out value = {.kind = GRAPHQL_OUT_NULL};
    graphql_resolve_fn resolve = task->planned->field->resolve;
    struct graphql_call *call = &task->call;

    if (is_dead(task->cell)) {
        return GRAPHQL_DONE;
    }
    if (task->planned->problem) {
        fail(executor, task->cell, GRAPHQL_INVALID, tally_slice_string(task->planned->problem));
        return GRAPHQL_DONE;
    }
    call->code = NULL;
    if (task->planned->field == executor->prepared->schema->typename_field) {
        value = graphql_out_text(task->parent->name);
    } else if ((resolve ? resolve : property)(call, &value) == GRAPHQL_AGAIN) {
        return GRAPHQL_AGAIN;
    }
    if (call->code) {
        fail(executor, task->cell, call->code, call->message);
    } else {
        complete(executor, task->cell, task->planned->field->type, task->parent, &value);
    }
    return GRAPHQL_DONE;
}

static struct task *make_tasks(struct executor *executor, struct node *nodes)
{
    struct task *first = NULL, **last = &first;

    for (; nodes; nodes = nodes->next) {
        const struct graphql_plan *plan = nodes->cell->plan;

        for (struct graphql_planned *planned = plan->fields; planned; planned = planned->next) {
            struct task *task = tally_arena_alloc(executor->errors->arena, sizeof *task);

            *task = (struct task){
                    .cell = &nodes->cell->cells[planned->index],
                    .planned = planned,
                    .parent = plan->type,
                    .call =
                            {
                                    .arena = executor->errors->arena,
                                    .schema = executor->prepared->schema,
                                    .context = executor->execution->context,
                                    .source = nodes->object,
                                    .field = planned->field,
                                    .arguments = planned->arguments,
                            },
            };
            *last = task;
            last = &task->next;
        }
    }
    return first;
}

static bool is_late(const struct executor *executor)
{
    const struct graphql_execution *execution = executor->execution;

    return execution->end_ms > 0 && tally_mono_ms(execution->clock) > execution->end_ms;
}

static void run_level(struct executor *executor, struct node *nodes)
{
    struct task *tasks = make_tasks(executor, nodes);

    for (int round = 0; tasks && !executor->stopped; round++) {
        struct task *again = NULL, **last = &again;

        tally_assert(round < ROUNDS_MAX);
        if (round > 0) {
            executor->execution->load(executor->execution->context);
        }
        if (is_late(executor)) {
            stop(executor, "OVERLOADED", "The request took over 2 s: ask for less at a time.");
        }
        for (struct task *task = tasks; task && !executor->stopped; task = task->next) {
            if (ask(executor, task) == GRAPHQL_AGAIN) {
                *last = task;
                last = &task->next;
            }
        }
        *last = NULL;
        tasks = again;
    }
}

/* --- the answer ------------------------------------------------------------------------------- */

static void write_leaf(const struct graphql_out *value, struct tally_buf *out)
{
    switch (value->kind) {
    case GRAPHQL_OUT_INT:
        tally_buf_format(out, "%lld", (long long)value->integer);
        break;
    case GRAPHQL_OUT_BOOL:
        tally_buf_string(out, value->integer ? "true" : "false");
        break;
    case GRAPHQL_OUT_STRING:
        graphql_write_string(out, value->text);
        break;
    default:
        tally_buf_slice(out, value->text);
        break;
    }
}

static void write_cell(const struct cell *cell, struct tally_buf *out)
{
    switch (cell->state) {
    case CELL_VALUE:
        write_leaf(&cell->value, out);
        break;
    case CELL_LIST:
    case CELL_OBJECT:
        tally_buf_byte(out, cell->state == CELL_LIST ? '[' : '{');
        for (size_t i = 0; i < cell->count; i++) {
            tally_buf_string(out, i > 0 ? "," : "");
            if (cell->state == CELL_OBJECT) {
                graphql_write_string(out, cell->cells[i].planned->key);
                tally_buf_byte(out, ':');
            }
            write_cell(&cell->cells[i], out);
        }
        tally_buf_byte(out, cell->state == CELL_LIST ? ']' : '}');
        break;
    default:
        tally_buf_string(out, "null");
        break;
    }
}

void graphql_execute(const struct graphql_prepared *prepared,
        const struct graphql_execution *execution, struct graphql_errors *errors,
        struct tally_buf *out)
{
    const struct graphql_schema *schema = prepared->schema;
    struct executor executor = {
            .prepared = prepared,
            .execution = execution,
            .errors = errors,
            .collector = {schema, prepared->bindings, prepared->document->fragment_count,
                    errors->arena},
            .last = &executor.first,
            .root = {.nullable = true},
    };

    begin_object(&executor, &executor.root,
            graphql_collect_root(&executor.collector,
                    graphql_schema_root(schema, prepared->operation->kind),
                    prepared->operation->selections),
            NULL);
    while (executor.first && !executor.stopped) {
        struct node *level = executor.first;

        executor.first = NULL;
        executor.last = &executor.first;
        run_level(&executor, level);
    }
    tally_buf_string(out, "\"data\":");
    write_cell(&executor.root, out);
}
