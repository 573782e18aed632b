/* http/graphql/graphql_validate.c - see graphql_validate.h: operations, fragments, fields,
 * arguments, directives. Variables and merging have files of their own.
 * Invariants
 *  (1) Every recursion goes down the document, which is nested GRAPHQL_NESTING_MAX deep at most, or
 *      from a fragment to one that is not open yet, of which there are fewer than tokens.
 *  (2) A document without errors has all its spreads and type names resolved. */
#include "http/graphql/graphql_validate.h"

enum { MERGE_WORK_MAX = 200000 };

#define TEXT(slice) ((slice).len < 100 ? (int)(slice).len : 100), (const char *)(slice).data
#define FAIL(validation, at, ...) \
    graphql_errors_add((validation)->errors, GRAPHQL_INVALID, at, __VA_ARGS__)

/* A written type for a message. */
struct type_text {
    char text[128];
};
static struct type_text type_text(const struct graphql_type_ref *type)
{
    struct type_text text = {""};
    struct tally_buf out;

    tally_buf_init(&out, sizeof text.text - 1);
    graphql_schema_print_type(type, &out);
    memcpy(text.text, out.len > 0 ? (const char *)out.data : "", out.len);
    tally_buf_deinit(&out);
    return text;
}

/* --- arguments and directives ----------------------------------------------------------------- */

/* Whose arguments: `field "Query.product"` or `directive "@skip"`. */
struct owner {
    const struct graphql_type *type;
    struct tally_slice name;
};

static void check_members(struct graphql_validation *validation, const struct graphql_value *value)
{
    for (const struct graphql_value *item = value->first; item; item = item->next) {
        for (const struct graphql_value *other = item->next;
                other && value->kind == GRAPHQL_VALUE_OBJECT; other = other->next) {
            if (tally_slice_equal(item->name, other->name)) {
                FAIL(validation, other->at, "There can be only one input field named \"%.*s\".",
                        TEXT(item->name));
                break;
            }
        }
        check_members(validation, item);
    }
}

static void check_value(struct graphql_validation *validation, const struct graphql_type_ref *type,
        const struct graphql_value *value)
{
    struct graphql_coercion coercion = {
            .arena = validation->errors->arena, .checks_only = true, .at = value->at};
    const struct graphql_input *input;

    check_members(validation, value);
    if (!graphql_input_coerce(&coercion, type, value, &input)) {
        FAIL(validation, coercion.at, "%s", coercion.problem);
    }
}

static void check_argument(struct graphql_validation *validation, const struct owner *owner,
        const struct graphql_parameter *parameters, const struct graphql_argument *argument)
{
    const struct graphql_parameter *parameter =
            graphql_schema_parameter(parameters, argument->name);

    for (const struct graphql_argument *other = argument->next; other; other = other->next) {
        if (tally_slice_equal(argument->name, other->name)) {
            FAIL(validation, other->at, "There can be only one argument named \"%.*s\".",
                    TEXT(argument->name));
            break;
        }
    }
    if (parameter) {
        check_value(validation, parameter->type, argument->value);
    } else if (owner->type) {
        FAIL(validation, argument->at, "Unknown argument \"%.*s\" on field \"%.*s.%.*s\".",
                TEXT(argument->name), TEXT(owner->type->name), TEXT(owner->name));
    } else {
        FAIL(validation, argument->at, "Unknown argument \"%.*s\" on directive \"@%.*s\".",
                TEXT(argument->name), TEXT(owner->name));
    }
}

static void check_arguments(struct graphql_validation *validation, const struct owner *owner,
        const struct graphql_parameter *parameters, const struct graphql_argument *arguments,
        struct graphql_location at)
{
    for (const struct graphql_argument *argument = arguments; argument; argument = argument->next) {
        check_argument(validation, owner, parameters, argument);
    }
    for (; parameters; parameters = parameters->next) {
        const struct graphql_argument *argument = arguments;

        while (argument && !tally_slice_equal(argument->name, parameters->name)) {
            argument = argument->next;
        }
        if (!argument && parameters->type->wrap == GRAPHQL_NON_NULL && !parameters->default_value) {
            FAIL(validation, at,
                    "%s \"%s%.*s\" argument \"%.*s\" of type \"%s\" is required, but it was not "
                    "provided.",
                    owner->type ? "Field" : "Directive", owner->type ? "" : "@", TEXT(owner->name),
                    TEXT(parameters->name), type_text(parameters->type).text);
        }
    }
}

static bool is_allowed_at(const struct graphql_directive_type *type, const char *location)
{
    for (size_t i = 0; i < type->location_count; i++) {
        if (tally_slice_equal(type->locations[i], tally_slice_string(location))) {
            return true;
        }
    }
    return false;
}

static void check_directives(struct graphql_validation *validation,
        const struct graphql_directive *directives, const char *location)
{
    for (; directives; directives = directives->next) {
        const struct graphql_directive_type *type =
                graphql_schema_directive(validation->schema, directives->name);
        const struct owner owner = {NULL, directives->name};

        for (const struct graphql_directive *other = directives->next; other; other = other->next) {
            if (tally_slice_equal(directives->name, other->name)) {
                FAIL(validation, other->at,
                        "The directive \"@%.*s\" can only be used once at this location.",
                        TEXT(other->name));
                break;
            }
        }
        if (!type) {
            FAIL(validation, directives->at, "Unknown directive \"@%.*s\".",
                    TEXT(directives->name));
            continue;
        }
        if (!is_allowed_at(type, location)) {
            FAIL(validation, directives->at, "Directive \"@%.*s\" may not be used on %s.",
                    TEXT(directives->name), location);
        }
        check_arguments(validation, &owner, type->parameters, directives->arguments,
                directives->at);
    }
}

/* --- selections ------------------------------------------------------------------------------- */

static void check_selections(struct graphql_validation *validation,
        const struct graphql_type *parent, struct graphql_selection *selections);

static void check_field(struct graphql_validation *validation, const struct graphql_type *parent,
        struct graphql_selection *selection)
{
    const struct graphql_field *field =
            graphql_schema_field(validation->schema, parent, selection->name);
    const struct owner owner = {parent, selection->name};
    const struct graphql_type *type;

    check_directives(validation, selection->directives, "FIELD");
    if (!field) {
        FAIL(validation, selection->at, "Cannot query field \"%.*s\" on type \"%.*s\".",
                TEXT(selection->name), TEXT(parent->name));
        return;
    }
    if (validation->hides_schema && (field == validation->schema->schema_field ||
                                            field == validation->schema->type_field)) {
        FAIL(validation, selection->at,
                "GraphQL introspection is not allowed here, but the query has __schema or __type.");
    }
    check_arguments(validation, &owner, field->parameters, selection->arguments, selection->at);
    type = graphql_schema_named(field->type);
    if (!graphql_schema_is_composite(type) && selection->selections) {
        FAIL(validation, selection->at,
                "Field \"%.*s\" must not have a selection since type \"%s\" has no subfields.",
                TEXT(selection->name), type_text(field->type).text);
    } else if (graphql_schema_is_composite(type) && !selection->selections) {
        FAIL(validation, selection->at,
                "Field \"%.*s\" of type \"%s\" must have a selection of subfields. Did you mean "
                "\"%.*s { ... }\"?",
                TEXT(selection->name), type_text(field->type).text, TEXT(selection->name));
    } else if (selection->selections) {
        check_selections(validation, type, selection->selections);
    }
}

/* The type that an inline fragment or a fragment is on; NULL: it is none, and said so. */
static const struct graphql_type *condition(struct graphql_validation *validation,
        struct tally_slice name, struct graphql_location at,
        const struct graphql_fragment *fragment)
{
    const struct graphql_type *type = graphql_schema_type(validation->schema, name);

    if (!type) {
        FAIL(validation, at, "Unknown type \"%.*s\".", TEXT(name));
    } else if (!graphql_schema_is_composite(type)) {
        if (fragment) {
            FAIL(validation, at,
                    "Fragment \"%.*s\" cannot condition on non composite type \"%.*s\".",
                    TEXT(fragment->name), TEXT(name));
        } else {
            FAIL(validation, at, "Fragment cannot condition on non composite type \"%.*s\".",
                    TEXT(name));
        }
        type = NULL;
    }
    return type;
}

static void check_inline(struct graphql_validation *validation, const struct graphql_type *parent,
        struct graphql_selection *selection)
{
    const struct graphql_type *type = parent;

    check_directives(validation, selection->directives, "INLINE_FRAGMENT");
    if (selection->name.len > 0) {
        type = condition(validation, selection->name, selection->at, NULL);
        if (type && !graphql_schema_overlap(parent, type)) {
            FAIL(validation, selection->at,
                    "Fragment cannot be spread here as objects of type \"%.*s\" can never be of "
                    "type \"%.*s\".",
                    TEXT(parent->name), TEXT(type->name));
        }
    }
    if (type) {
        check_selections(validation, type, selection->selections);
    }
}

static void check_spread(struct graphql_validation *validation, const struct graphql_type *parent,
        struct graphql_selection *selection)
{
    struct graphql_fragment *fragment = validation->document->fragments;

    check_directives(validation, selection->directives, "FRAGMENT_SPREAD");
    while (fragment && !tally_slice_equal(fragment->name, selection->name)) {
        fragment = fragment->next;
    }
    selection->fragment = fragment;
    if (!fragment) {
        FAIL(validation, selection->at, "Unknown fragment \"%.*s\".", TEXT(selection->name));
    } else if (fragment->type && !graphql_schema_overlap(parent, fragment->type)) {
        FAIL(validation, selection->at,
                "Fragment \"%.*s\" cannot be spread here as objects of type \"%.*s\" can never be "
                "of type \"%.*s\".",
                TEXT(fragment->name), TEXT(parent->name), TEXT(fragment->type->name));
    }
}

static void check_selections(struct graphql_validation *validation,
        const struct graphql_type *parent, struct graphql_selection *selections)
{
    for (; selections; selections = selections->next) {
        switch (selections->kind) {
        case GRAPHQL_FIELD:
            check_field(validation, parent, selections);
            break;
        case GRAPHQL_SPREAD:
            check_spread(validation, parent, selections);
            break;
        case GRAPHQL_INLINE:
            check_inline(validation, parent, selections);
            break;
        }
    }
}

/* --- fragments -------------------------------------------------------------------------------- */

static void check_fragments(struct graphql_validation *validation)
{
    struct graphql_fragment *fragments = validation->document->fragments;

    for (struct graphql_fragment *fragment = fragments; fragment; fragment = fragment->next) {
        fragment->type = condition(validation, fragment->type_name, fragment->type_at, fragment);
        for (struct graphql_fragment *other = fragment->next; other; other = other->next) {
            if (tally_slice_equal(fragment->name, other->name)) {
                FAIL(validation, other->name_at, "There can be only one fragment named \"%.*s\".",
                        TEXT(fragment->name));
                break;
            }
        }
    }
    for (struct graphql_fragment *fragment = fragments; fragment; fragment = fragment->next) {
        check_directives(validation, fragment->directives, "FRAGMENT_DEFINITION");
        if (fragment->type) {
            check_selections(validation, fragment->type, fragment->selections);
        }
    }
}

enum visit { VISIT_NEW, VISIT_OPEN, VISIT_DONE };

static void visit_spreads(struct graphql_validation *validation,
        struct graphql_selection *selections, enum visit *visits)
{
    for (; selections; selections = selections->next) {
        struct graphql_fragment *fragment = selections->fragment;

        if (selections->kind != GRAPHQL_SPREAD) {
            visit_spreads(validation, selections->selections, visits);
        } else if (fragment && visits[fragment->index] == VISIT_OPEN) {
            FAIL(validation, selections->at, "Cannot spread fragment \"%.*s\" within itself.",
                    TEXT(fragment->name));
            validation->has_cycle = true;
        } else if (fragment && visits[fragment->index] == VISIT_NEW) {
            visits[fragment->index] = VISIT_OPEN;
            visit_spreads(validation, fragment->selections, visits);
            visits[fragment->index] = VISIT_DONE;
        }
    }
}

static enum visit *new_visits(struct graphql_validation *validation)
{
    size_t size = (validation->document->fragment_count + 1) * sizeof(enum visit);
    enum visit *visits = tally_arena_alloc(validation->errors->arena, size);

    memset(visits, 0, size);
    return visits;
}

/* Of fragments with one name, which is an error, spreads mean the first. */
static const struct graphql_fragment *first_of_name(const struct graphql_validation *validation,
        const struct graphql_fragment *fragment)
{
    const struct graphql_fragment *first = validation->document->fragments;

    while (!tally_slice_equal(first->name, fragment->name)) {
        first = first->next;
    }
    return first;
}

/* Cycles, and fragments that nobody uses. */
static void check_spreads(struct graphql_validation *validation)
{
    enum visit *visits = new_visits(validation);

    for (struct graphql_operation *operation = validation->document->operations; operation;
            operation = operation->next) {
        visit_spreads(validation, operation->selections, visits);
    }
    for (struct graphql_fragment *fragment = validation->document->fragments; fragment;
            fragment = fragment->next) {
        if (visits[first_of_name(validation, fragment)->index] != VISIT_DONE) {
            FAIL(validation, fragment->at, "Fragment \"%.*s\" is never used.",
                    TEXT(fragment->name));
        }
    }
    for (struct graphql_fragment *fragment = validation->document->fragments; fragment;
            fragment = fragment->next) {
        if (visits[fragment->index] == VISIT_NEW) {
            visits[fragment->index] = VISIT_OPEN;
            visit_spreads(validation, fragment->selections, visits);
            visits[fragment->index] = VISIT_DONE;
        }
    }
}

/* --- operations ------------------------------------------------------------------------------- */

static const struct graphql_type *root_type(struct graphql_validation *validation,
        const struct graphql_operation *operation)
{
    const struct graphql_type *type = graphql_schema_root(validation->schema, operation->kind);

    if (!type) {
        FAIL(validation, operation->at, "Schema is not configured to execute %s operation.",
                operation->kind == GRAPHQL_MUTATION ? "mutation" : "subscription");
    }
    return type;
}

static void check_name(struct graphql_validation *validation,
        const struct graphql_operation *operation)
{
    if (operation->name.len == 0) {
        if (validation->document->operation_count > 1) {
            FAIL(validation, operation->at,
                    "This anonymous operation must be the only defined operation.");
        }
        return;
    }
    for (const struct graphql_operation *other = operation->next; other; other = other->next) {
        if (tally_slice_equal(operation->name, other->name)) {
            FAIL(validation, other->name_at, "There can be only one operation named \"%.*s\".",
                    TEXT(operation->name));
            break;
        }
    }
}

static void check_operations(struct graphql_validation *validation)
{
    static const char *const locations[] = {"QUERY", "MUTATION", "SUBSCRIPTION"};

    for (struct graphql_operation *operation = validation->document->operations; operation;
            operation = operation->next) {
        const struct graphql_type *type = root_type(validation, operation);

        check_name(validation, operation);
        check_directives(validation, operation->directives, locations[operation->kind]);
        if (type) {
            check_selections(validation, type, operation->selections);
        }
    }
}

bool graphql_validate(const struct graphql_schema *schema, struct graphql_document *document,
        bool hides_schema, struct graphql_errors *errors)
{
    struct graphql_validation validation = {
            .schema = schema,
            .document = document,
            .errors = errors,
            .hides_schema = hides_schema,
            .work_left = MERGE_WORK_MAX,
    };
    size_t before = errors->count;

    check_fragments(&validation);
    check_operations(&validation);
    check_spreads(&validation);
    graphql_validate_subscriptions(&validation);
    for (const struct graphql_operation *operation = document->operations; operation;
            operation = operation->next) {
        for (const struct graphql_variable *variable = operation->variables; variable;
                variable = variable->next) {
            check_directives(&validation, variable->directives, "VARIABLE_DEFINITION");
            if (!graphql_schema_resolve(schema, variable->type)) {
                continue;
            }
            if (variable->default_value &&
                    !graphql_schema_is_composite(graphql_schema_named(variable->type))) {
                check_value(&validation, variable->type, variable->default_value);
            }
        }
    }
    graphql_validate_variables(&validation);
    if (!validation.has_cycle) {
        graphql_validate_merge(&validation);
    }
    return errors->count == before;
}
