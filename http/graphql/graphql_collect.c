/* http/graphql/graphql_collect.c - see graphql_collect.h. Only for valid documents. */
#include "http/graphql/graphql_collect.h"

struct collection {
    struct graphql_collector *collector;
    struct graphql_plan *plan;
    struct graphql_planned *last;
    bool *visited; /* fragments */
};

/* What @skip and @include say. */
static bool is_wanted(const struct graphql_collector *collector,
        const struct graphql_directive *directives)
{
    struct graphql_coercion coercion = {.arena = collector->arena, .bindings = collector->bindings};

    for (; directives; directives = directives->next) {
        bool skips = tally_slice_equal(directives->name, TALLY_SLICE("skip"));
        const struct graphql_directive_type *type =
                graphql_schema_directive(collector->schema, directives->name);
        const struct graphql_input *condition = NULL;

        if (!skips && !tally_slice_equal(directives->name, TALLY_SLICE("include"))) {
            continue;
        }
        if (graphql_input_argument(&coercion, type->parameters, directives->arguments,
                    &condition) &&
                condition && (condition->integer != 0) == skips) {
            return false;
        }
    }
    return true;
}

static void plan_arguments(const struct graphql_collector *collector,
        struct graphql_planned *planned, const struct graphql_selection *selection)
{
    size_t size = (planned->field->parameter_count + 1) * sizeof(const struct graphql_input *);
    const struct graphql_input **arguments = tally_arena_alloc(collector->arena, size);
    struct graphql_coercion coercion = {.arena = collector->arena, .bindings = collector->bindings};

    memset(arguments, 0, size);
    for (const struct graphql_parameter *parameter = planned->field->parameters; parameter;
            parameter = parameter->next) {
        if (!graphql_input_argument(&coercion, parameter, selection->arguments,
                    &arguments[parameter->index]) &&
                !planned->problem) {
            planned->problem = (const char *)tally_arena_copy(collector->arena,
                    tally_slice_of(coercion.problem, strlen(coercion.problem) + 1))
                                       .data;
        }
    }
    planned->arguments = arguments;
}

static struct graphql_planned *find_planned(struct collection *collection,
        const struct graphql_selection *selection)
{
    struct graphql_planned *planned = collection->plan->fields;

    while (planned && !tally_slice_equal(planned->key, selection->key)) {
        planned = planned->next;
    }
    if (planned) {
        return planned;
    }
    planned = tally_arena_alloc(collection->collector->arena, sizeof *planned);
    *planned = (struct graphql_planned){
            .key = selection->key,
            .field = graphql_schema_field(collection->collector->schema, collection->plan->type,
                    selection->name),
            .at = selection->at,
            .index = collection->plan->count++,
    };
    tally_assert(planned->field);
    plan_arguments(collection->collector, planned, selection);
    *(collection->last ? &collection->last->next : &collection->plan->fields) = planned;
    collection->last = planned;
    return planned;
}

static void add_field(struct collection *collection, const struct graphql_selection *selection)
{
    struct graphql_planned *planned = find_planned(collection, selection);
    struct graphql_merged *merged = tally_arena_alloc(collection->collector->arena, sizeof *merged);

    *merged = (struct graphql_merged){.selection = selection};
    if (planned->last) {
        planned->last->next = merged;
    } else {
        planned->merged = merged;
    }
    planned->last = merged;
}

static void collect(struct collection *collection, const struct graphql_selection *selections)
{
    const struct graphql_type *type = collection->plan->type;

    for (; selections; selections = selections->next) {
        const struct graphql_fragment *fragment = selections->fragment;

        if (!is_wanted(collection->collector, selections->directives)) {
            continue;
        }
        if (selections->kind == GRAPHQL_FIELD) {
            add_field(collection, selections);
        } else if (selections->kind == GRAPHQL_INLINE) {
            const struct graphql_type *on =
                    selections->name.len > 0
                            ? graphql_schema_type(collection->collector->schema, selections->name)
                            : type;

            if (graphql_schema_is_possible(on, type)) {
                collect(collection, selections->selections);
            }
        } else if (!collection->visited[fragment->index]) {
            collection->visited[fragment->index] = true;
            if (graphql_schema_is_possible(fragment->type, type)) {
                collect(collection, fragment->selections);
            }
        }
    }
}

static void begin(struct graphql_collector *collector, const struct graphql_type *type,
        struct collection *collection)
{
    *collection = (struct collection){
            .collector = collector,
            .plan = tally_arena_alloc(collector->arena, sizeof *collection->plan),
            .visited = tally_arena_alloc(collector->arena, collector->fragment_count + 1),
    };
    *collection->plan = (struct graphql_plan){.type = type};
    memset(collection->visited, 0, collector->fragment_count + 1);
}

struct graphql_plan *graphql_collect_root(struct graphql_collector *collector,
        const struct graphql_type *type, const struct graphql_selection *selections)
{
    struct collection collection;

    begin(collector, type, &collection);
    collect(&collection, selections);
    return collection.plan;
}

struct graphql_plan *graphql_collect(struct graphql_collector *collector,
        struct graphql_planned *field, const struct graphql_type *type)
{
    struct collection collection;
    struct graphql_plan *plan = field->plans;

    while (plan && plan->type != type) {
        plan = plan->next;
    }
    if (plan) {
        return plan;
    }
    begin(collector, type, &collection);
    for (const struct graphql_merged *merged = field->merged; merged; merged = merged->next) {
        collect(&collection, merged->selection->selections);
    }
    collection.plan->next = field->plans;
    field->plans = collection.plan;
    return collection.plan;
}
