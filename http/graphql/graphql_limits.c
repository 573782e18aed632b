/* http/graphql/graphql_limits.c - how much an operation asks for, before anything of it is done.
 * Invariants
 *  (1) A fragment is measured once, however often it is spread, so measuring takes time in the size
 *      of the document alone; numbers stop at MEASURE_MAX.
 *  (2) Introspection has a limit of its own: its usual query is deep, but ends. */
#include "http/graphql/graphql_validate.h"

#define MEASURE_MAX 1000000

struct measures {
    const struct graphql_schema *schema;
    const struct graphql_binding *bindings;
    struct graphql_errors *errors;
    struct graphql_cost *fragments; /* by index */
    bool *known;
};

static int64_t limit(int64_t number)
{
    return number < MEASURE_MAX ? number : MEASURE_MAX;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void add(struct graphql_cost *to, const struct graphql_cost *more)
{
    to->depth = larger(to->depth, more->depth);
    to->introspection = larger(to->introspection, more->introspection);
    to->aliases = limit(to->aliases + more->aliases);
    to->root_fields = limit(to->root_fields + more->root_fields);
    to->directives = limit(to->directives + more->directives);
    to->cost = limit(to->cost + more->cost);
}

static int64_t count_directives(const struct graphql_directive *directives)
{
    int64_t count = 0;

    for (; directives; directives = directives->next) {
        count++;
    }
    return count;
}

/* What a field's children are multiplied with: `first`, or the items of a list of ids. */
static int64_t factor_of(struct measures *measures, const struct graphql_field *field,
        const struct graphql_selection *selection)
{
    struct graphql_coercion coercion = {
            .arena = measures->errors->arena, .bindings = measures->bindings};
    int64_t factor = 1;

    for (const struct graphql_parameter *parameter = field->parameters; parameter;
            parameter = parameter->next) {
        bool is_first = tally_slice_equal(parameter->name, TALLY_SLICE("first"));
        const struct graphql_input *input;

        if ((!is_first && !tally_slice_equal(parameter->name, TALLY_SLICE("skus"))) ||
                !graphql_input_argument(&coercion, parameter, selection->arguments, &input) ||
                !input || input->kind == GRAPHQL_INPUT_NULL) {
            continue;
        }
        factor = is_first ? input->integer : (int64_t)input->count;
        if (factor > GRAPHQL_FIRST_MAX || (is_first && factor < 1)) {
            graphql_errors_add(measures->errors, GRAPHQL_INVALID, selection->at,
                    "%.*s: expected %s %d, got %lld", (int)field->name.len,
                    (const char *)field->name.data,
                    is_first ? "first to be 1 to" : "a number of SKUs up to", GRAPHQL_FIRST_MAX,
                    (long long)factor);
        }
        factor = larger(factor, 1);
    }
    return factor;
}

static struct graphql_cost measure(struct measures *measures, const struct graphql_type *parent,
        const struct graphql_selection *selections);

/* A list of what types are made of: those in each other multiply. */
static bool is_introspection_list(const struct graphql_type *parent,
        const struct graphql_field *field)
{
    return parent->name.len > 2 && parent->name.data[0] == '_' &&
           (tally_slice_equal(field->name, TALLY_SLICE("fields")) ||
                   tally_slice_equal(field->name, TALLY_SLICE("types")) ||
                   tally_slice_equal(field->name, TALLY_SLICE("interfaces")) ||
                   tally_slice_equal(field->name, TALLY_SLICE("possibleTypes")) ||
                   tally_slice_equal(field->name, TALLY_SLICE("inputFields")));
}

static struct graphql_cost measure_field(struct measures *measures,
        const struct graphql_type *parent, const struct graphql_selection *selection)
{
    const struct graphql_field *field =
            graphql_schema_field(measures->schema, parent, selection->name);
    struct graphql_cost cost = {0};

    tally_assert(field);
    if (selection->selections) {
        int64_t factor = factor_of(measures, field, selection);

        cost = measure(measures, graphql_schema_named(field->type), selection->selections);
        cost.introspection += is_introspection_list(parent, field);
        cost.cost = limit(1 + factor * cost.cost);
    }
    cost.depth = limit(cost.depth + 1);
    if (field == measures->schema->schema_field || field == measures->schema->type_field) {
        cost.depth = 1;
        cost.cost = 1;
    }
    cost.aliases = limit(cost.aliases + selection->has_alias);
    cost.root_fields = 1;
    return cost;
}

static struct graphql_cost measure(struct measures *measures, const struct graphql_type *parent,
        const struct graphql_selection *selections)
{
    struct graphql_cost sum = {0};

    for (; selections; selections = selections->next) {
        const struct graphql_fragment *fragment = selections->fragment;
        struct graphql_cost one;

        if (selections->kind == GRAPHQL_FIELD) {
            one = measure_field(measures, parent, selections);
        } else if (selections->kind == GRAPHQL_INLINE) {
            one = measure(measures,
                    selections->name.len > 0
                            ? graphql_schema_type(measures->schema, selections->name)
                            : parent,
                    selections->selections);
        } else {
            if (!measures->known[fragment->index]) {
                measures->fragments[fragment->index] =
                        measure(measures, fragment->type, fragment->selections);
                measures->known[fragment->index] = true;
            }
            one = measures->fragments[fragment->index];
        }
        one.directives = limit(one.directives + count_directives(selections->directives));
        add(&sum, &one);
    }
    return sum;
}

static void check(struct graphql_errors *errors, const struct graphql_operation *operation,
        const char *what, int64_t number, int64_t max)
{
    if (number > max) {
        graphql_errors_add(errors, GRAPHQL_INVALID, operation->at,
                "The operation has %s%lld %s, at most %lld are allowed.",
                number == MEASURE_MAX ? "over " : "", (long long)number, what, (long long)max);
    }
}

bool graphql_limits_check(const struct graphql_schema *schema,
        const struct graphql_document *document, const struct graphql_operation *operation,
        const struct graphql_binding *bindings, struct graphql_errors *errors,
        struct graphql_cost *cost)
{
    size_t count = document->fragment_count + 1, before = errors->count;
    struct measures measures = {
            .schema = schema,
            .bindings = bindings,
            .errors = errors,
            .fragments = tally_arena_alloc(errors->arena, count * sizeof(struct graphql_cost)),
            .known = tally_arena_alloc(errors->arena, count),
    };

    memset(measures.known, 0, count);
    *cost = measure(&measures, graphql_schema_root(schema, operation->kind), operation->selections);
    cost->directives = limit(cost->directives + count_directives(operation->directives));
    check(errors, operation, "levels of fields", cost->depth, GRAPHQL_DEPTH_MAX);
    check(errors, operation, "aliases", cost->aliases, GRAPHQL_ALIASES_MAX);
    check(errors, operation, "root fields", cost->root_fields, GRAPHQL_ROOT_FIELDS_MAX);
    check(errors, operation, "directives", cost->directives, GRAPHQL_DIRECTIVES_MAX);
    check(errors, operation, "lists of introspection within each other", cost->introspection,
            GRAPHQL_INTROSPECTION_MAX);
    check(errors, operation, "points of cost", cost->cost, GRAPHQL_COST_MAX);
    return errors->count == before;
}
