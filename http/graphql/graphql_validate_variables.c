/* http/graphql/graphql_validate_variables.c - the rules about variables: each is declared, used,
 * and used where its type is right. Fragments use those of every operation that spreads them. */
#include "http/graphql/graphql_validate.h"

#define TEXT(slice) ((slice).len < 100 ? (int)(slice).len : 100), (const char *)(slice).data
#define FAIL(walk, at, ...) \
    graphql_errors_add((walk)->validation->errors, GRAPHQL_INVALID, at, __VA_ARGS__)

/* One operation with all that it spreads. */
struct walk {
    struct graphql_validation *validation;
    const struct graphql_operation *operation;
    bool *visited; /* by index of fragment */
    bool *used;    /* by position of variable */
};

static const struct graphql_variable *find(struct walk *walk, struct tally_slice name,
        size_t *position)
{
    const struct graphql_variable *variable = walk->operation->variables;

    for (*position = 0; variable && !tally_slice_equal(variable->name, name); (*position)++) {
        variable = variable->next;
    }
    return variable;
}

/* AreTypesCompatible() of the specification. */
static bool is_compatible(const struct graphql_type_ref *variable,
        const struct graphql_type_ref *wanted)
{
    for (;;) {
        if (wanted->wrap == GRAPHQL_NON_NULL) {
            if (variable->wrap != GRAPHQL_NON_NULL) {
                return false;
            }
            wanted = wanted->of;
            variable = variable->of;
        } else if (variable->wrap == GRAPHQL_NON_NULL) {
            variable = variable->of;
        } else if (wanted->wrap != variable->wrap) {
            return false;
        } else if (wanted->wrap == GRAPHQL_NAMED) {
            return tally_slice_equal(wanted->name, variable->name);
        } else {
            wanted = wanted->of;
            variable = variable->of;
        }
    }
}

/* IsVariableUsageAllowed(): a default of either side makes up for a null. */
static bool is_allowed(const struct graphql_variable *variable,
        const struct graphql_type_ref *wanted, bool has_default)
{
    bool defaulted = has_default || (variable->default_value &&
                                            variable->default_value->kind != GRAPHQL_VALUE_NULL);

    if (wanted->wrap == GRAPHQL_NON_NULL && variable->type->wrap != GRAPHQL_NON_NULL && defaulted) {
        wanted = wanted->of;
    }
    return is_compatible(variable->type, wanted);
}

static void check_use(struct walk *walk, const struct graphql_value *value,
        const struct graphql_type_ref *wanted, bool has_default)
{
    size_t position;
    const struct graphql_variable *variable = find(walk, value->text, &position);
    struct tally_buf types[2];

    if (!variable) {
        FAIL(walk, value->at, "Variable \"$%.*s\" is not defined%s%.*s%s.", TEXT(value->text),
                walk->operation->name.len > 0 ? " by operation \"" : "",
                TEXT(walk->operation->name), walk->operation->name.len > 0 ? "\"" : "");
        return;
    }
    walk->used[position] = true;
    if (!wanted || !graphql_schema_named(variable->type) ||
            is_allowed(variable, wanted, has_default)) {
        return;
    }
    tally_buf_init(&types[0], 128);
    tally_buf_init(&types[1], 128);
    graphql_schema_print_type(variable->type, &types[0]);
    graphql_schema_print_type(wanted, &types[1]);
    FAIL(walk, variable->at,
            "Variable \"$%.*s\" of type \"%.*s\" used in position expecting type \"%.*s\".",
            TEXT(value->text), TEXT(tally_buf_bytes(&types[0])), TEXT(tally_buf_bytes(&types[1])));
    tally_buf_deinit(&types[0]);
    tally_buf_deinit(&types[1]);
}

/* wanted NULL: any, as within JSON. */
static void walk_value(struct walk *walk, const struct graphql_value *value,
        const struct graphql_type_ref *wanted, bool has_default)
{
    const struct graphql_type_ref *of = NULL;

    if (value->kind == GRAPHQL_VALUE_VARIABLE) {
        check_use(walk, value, wanted, has_default);
        return;
    }
    while (wanted && wanted->wrap == GRAPHQL_NON_NULL) {
        wanted = wanted->of;
    }
    if (wanted && wanted->wrap == GRAPHQL_LIST_OF && value->kind == GRAPHQL_VALUE_LIST) {
        of = wanted->of;
    }
    for (const struct graphql_value *item = value->first; item; item = item->next) {
        walk_value(walk, item, of, false);
    }
}

static void walk_arguments(struct walk *walk, const struct graphql_argument *arguments,
        const struct graphql_parameter *parameters)
{
    for (; arguments; arguments = arguments->next) {
        const struct graphql_parameter *parameter =
                graphql_schema_parameter(parameters, arguments->name);

        walk_value(walk, arguments->value, parameter ? parameter->type : NULL,
                parameter && parameter->default_value);
    }
}

static void walk_directives(struct walk *walk, const struct graphql_directive *directives)
{
    for (; directives; directives = directives->next) {
        const struct graphql_directive_type *type =
                graphql_schema_directive(walk->validation->schema, directives->name);

        walk_arguments(walk, directives->arguments, type ? type->parameters : NULL);
    }
}

/* parent NULL: unknown, then so are the fields. */
static void walk_selections(struct walk *walk, const struct graphql_type *parent,
        const struct graphql_selection *selections)
{
    for (; selections; selections = selections->next) {
        const struct graphql_schema *schema = walk->validation->schema;
        const struct graphql_fragment *fragment = selections->fragment;

        walk_directives(walk, selections->directives);
        if (selections->kind == GRAPHQL_FIELD) {
            const struct graphql_field *field =
                    parent ? graphql_schema_field(schema, parent, selections->name) : NULL;

            walk_arguments(walk, selections->arguments, field ? field->parameters : NULL);
            walk_selections(walk, field ? graphql_schema_named(field->type) : NULL,
                    selections->selections);
        } else if (selections->kind == GRAPHQL_INLINE) {
            walk_selections(walk,
                    selections->name.len > 0 ? graphql_schema_type(schema, selections->name)
                                             : parent,
                    selections->selections);
        } else if (fragment && !walk->visited[fragment->index]) {
            walk->visited[fragment->index] = true;
            walk_selections(walk, fragment->type, fragment->selections);
        }
    }
}

static void check_declared(struct walk *walk, const struct graphql_variable *variable, bool used)
{
    const struct graphql_type *type = graphql_schema_named(variable->type);

    for (const struct graphql_variable *other = variable->next; other; other = other->next) {
        if (tally_slice_equal(variable->name, other->name)) {
            FAIL(walk, other->at, "There can be only one variable named \"$%.*s\".",
                    TEXT(variable->name));
            break;
        }
    }
    if (!type) {
        const struct graphql_type_ref *named = variable->type;

        while (named->wrap != GRAPHQL_NAMED) {
            named = named->of;
        }
        FAIL(walk, named->at, "Unknown type \"%.*s\".", TEXT(named->name));
    } else if (graphql_schema_is_composite(type)) {
        FAIL(walk, variable->type->at, "Variable \"$%.*s\" cannot be non-input type \"%.*s\".",
                TEXT(variable->name), TEXT(type->name));
    }
    if (!used) {
        FAIL(walk, variable->at, "Variable \"$%.*s\" is never used%s%.*s%s.", TEXT(variable->name),
                walk->operation->name.len > 0 ? " in operation \"" : "",
                TEXT(walk->operation->name), walk->operation->name.len > 0 ? "\"" : "");
    }
}

static bool *new_flags(struct graphql_validation *validation, size_t count)
{
    bool *flags = tally_arena_alloc(validation->errors->arena, count + 1);

    memset(flags, 0, count + 1);
    return flags;
}

void graphql_validate_variables(struct graphql_validation *validation)
{
    const struct graphql_schema *schema = validation->schema;

    for (const struct graphql_operation *operation = validation->document->operations; operation;
            operation = operation->next) {
        struct walk walk = {.validation = validation, .operation = operation};
        size_t count = 0;

        for (const struct graphql_variable *variable = operation->variables; variable;
                variable = variable->next) {
            count++;
        }
        walk.visited = new_flags(validation, validation->document->fragment_count);
        walk.used = new_flags(validation, count);
        walk_directives(&walk, operation->directives);
        walk_selections(&walk,
                operation->kind == GRAPHQL_QUERY      ? schema->query
                : operation->kind == GRAPHQL_MUTATION ? schema->mutation
                                                      : NULL,
                operation->selections);
        for (const struct graphql_variable *variable = operation->variables; variable;
                variable = variable->next) {
            size_t first; /* of this name: uses mean it */

            (void)find(&walk, variable->name, &first);
            check_declared(&walk, variable, walk.used[first]);
        }
    }
}
