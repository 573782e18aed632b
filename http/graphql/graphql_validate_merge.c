/* http/graphql/graphql_validate_merge.c - fields of one response key must be one field with the
 * same arguments, or stand under objects that exclude each other, and give values of one shape
 * (5.3.2, Field Selection Merging).
 * Invariants
 *  (1) The work is counted: fragments can make any number of pairs out of few tokens.
 *  (2) Called only for documents whose fragments make no cycle, so every recursion ends. */
#include "http/graphql/graphql_validate.h"

#include <stdio.h>

#define TEXT(slice) ((slice).len < 100 ? (int)(slice).len : 100), (const char *)(slice).data

struct entry {
    const struct graphql_selection *selection;
    const struct graphql_type *parent;
    const struct graphql_field *field; /* NULL: there is none */
    const struct entry *next;
};

struct entries {
    const struct entry *first;
    bool *visited; /* fragments */
};

/* One more step; false: it were too many. */
static bool work(struct graphql_validation *validation)
{
    if (validation->work_left == 0) {
        return false;
    }
    if (--validation->work_left == 0) {
        graphql_errors_add(validation->errors, GRAPHQL_INVALID, (struct graphql_location){0},
                "The document selects too many fields that may be the same: use fewer fragments.");
    }
    return validation->work_left > 0;
}

static void collect(struct graphql_validation *validation, const struct graphql_type *parent,
        const struct graphql_selection *selections, struct entries *entries)
{
    for (; selections && work(validation); selections = selections->next) {
        const struct graphql_fragment *fragment = selections->fragment;

        if (selections->kind == GRAPHQL_FIELD) {
            struct entry *entry = tally_arena_alloc(validation->errors->arena, sizeof *entry);

            *entry = (struct entry){
                    .selection = selections,
                    .parent = parent,
                    .field = parent ? graphql_schema_field(validation->schema, parent,
                                              selections->name)
                                    : NULL,
                    .next = entries->first,
            };
            entries->first = entry;
        } else if (selections->kind == GRAPHQL_INLINE) {
            collect(validation,
                    selections->name.len > 0
                            ? graphql_schema_type(validation->schema, selections->name)
                            : parent,
                    selections->selections, entries);
        } else if (fragment && !entries->visited[fragment->index]) {
            entries->visited[fragment->index] = true;
            collect(validation, fragment->type, fragment->selections, entries);
        }
    }
}

static struct entries collect_all(struct graphql_validation *validation,
        const struct graphql_type *parent, const struct graphql_selection *selections)
{
    size_t size = validation->document->fragment_count + 1;
    struct entries entries = {.visited = tally_arena_alloc(validation->errors->arena, size)};

    memset(entries.visited, 0, size);
    collect(validation, parent, selections, &entries);
    return entries;
}

static bool same_value(const struct graphql_value *a, const struct graphql_value *b)
{
    const struct graphql_value *x, *y;

    if (a->kind != b->kind || !tally_slice_equal(a->text, b->text)) {
        return false;
    }
    for (x = a->first, y = b->first; x && y; x = x->next, y = y->next) {
        if (!tally_slice_equal(x->name, y->name) || !same_value(x, y)) {
            return false;
        }
    }
    return !x && !y;
}

static bool same_arguments(const struct graphql_argument *a, const struct graphql_argument *b)
{
    size_t a_count = 0, b_count = 0;

    for (const struct graphql_argument *other = b; other; other = other->next) {
        b_count++;
    }
    for (; a; a = a->next) {
        const struct graphql_argument *other = b;

        while (other && !tally_slice_equal(a->name, other->name)) {
            other = other->next;
        }
        if (!other || !same_value(a->value, other->value)) {
            return false;
        }
        a_count++;
    }
    return a_count == b_count;
}

/* SameResponseShape(), of the types alone. */
static bool same_shape(const struct graphql_type_ref *a, const struct graphql_type_ref *b)
{
    while (a->wrap != GRAPHQL_NAMED || b->wrap != GRAPHQL_NAMED) {
        if (a->wrap != b->wrap) {
            return false;
        }
        a = a->of;
        b = b->of;
    }
    return (graphql_schema_is_composite(a->type) && graphql_schema_is_composite(b->type)) ||
           a->type == b->type;
}

static void conflict(struct graphql_validation *validation, const struct entry *a,
        const struct entry *b, const char *why)
{
    struct graphql_error *error = graphql_errors_add(validation->errors, GRAPHQL_INVALID,
            a->selection->at,
            "Fields \"%.*s\" conflict because %s. Use different aliases on the fields to fetch "
            "both if this was intentional.",
            TEXT(a->selection->key), why);

    if (error) {
        error->at[1] = b->selection->at;
    }
}

static void compare(struct graphql_validation *validation, const struct entries *as,
        const struct entries *bs, bool exclusive);

static void compare_pair(struct graphql_validation *validation, const struct entry *a,
        const struct entry *b, bool exclusive)
{
    char why[320];

    if (!a->field || !b->field) {
        return;
    }
    exclusive = exclusive || (a->parent != b->parent && a->parent->kind == GRAPHQL_OBJECT &&
                                     b->parent->kind == GRAPHQL_OBJECT);
    if (!exclusive && !tally_slice_equal(a->selection->name, b->selection->name)) {
        snprintf(why, sizeof why, "\"%.*s\" and \"%.*s\" are different fields",
                TEXT(a->selection->name), TEXT(b->selection->name));
        conflict(validation, a, b, why);
    } else if (!exclusive && !same_arguments(a->selection->arguments, b->selection->arguments)) {
        conflict(validation, a, b, "they have differing arguments");
    } else if (!same_shape(a->field->type, b->field->type)) {
        struct tally_buf types;

        tally_buf_init(&types, sizeof why - 1);
        tally_buf_string(&types, "they return conflicting types \"");
        graphql_schema_print_type(a->field->type, &types);
        tally_buf_string(&types, "\" and \"");
        graphql_schema_print_type(b->field->type, &types);
        tally_buf_string(&types, "\"");
        snprintf(why, sizeof why, "%.*s", (int)types.len, (const char *)types.data);
        tally_buf_deinit(&types);
        conflict(validation, a, b, why);
    } else if (a->selection->selections && b->selection->selections &&
               a->selection != b->selection) {
        struct entries as = collect_all(validation, graphql_schema_named(a->field->type),
                a->selection->selections);
        struct entries bs = collect_all(validation, graphql_schema_named(b->field->type),
                b->selection->selections);

        compare(validation, &as, &bs, exclusive);
    }
}

/* Every pair of one key: of two lists, or within one, which has its last one first. */
static void compare(struct graphql_validation *validation, const struct entries *as,
        const struct entries *bs, bool exclusive)
{
    for (const struct entry *a = as->first; a; a = a->next) {
        for (const struct entry *b = as == bs ? a->next : bs->first; b; b = b->next) {
            if (!work(validation)) {
                return;
            }
            if (tally_slice_equal(a->selection->key, b->selection->key)) {
                compare_pair(validation, as == bs ? b : a, as == bs ? a : b, exclusive);
            }
        }
    }
}

/* Every set of selections in the document. */
static void check_sets(struct graphql_validation *validation, const struct graphql_type *parent,
        const struct graphql_selection *selections)
{
    for (; selections; selections = selections->next) {
        if (selections->kind == GRAPHQL_INLINE) {
            check_sets(validation,
                    selections->name.len > 0
                            ? graphql_schema_type(validation->schema, selections->name)
                            : parent,
                    selections->selections);
        } else if (selections->kind == GRAPHQL_FIELD && selections->selections && parent) {
            const struct graphql_field *field =
                    graphql_schema_field(validation->schema, parent, selections->name);
            const struct graphql_type *type = field ? graphql_schema_named(field->type) : NULL;
            struct entries entries = collect_all(validation, type, selections->selections);

            compare(validation, &entries, &entries, false);
            check_sets(validation, type, selections->selections);
        }
    }
}

void graphql_validate_merge(struct graphql_validation *validation)
{
    const struct graphql_schema *schema = validation->schema;

    for (const struct graphql_operation *operation = validation->document->operations; operation;
            operation = operation->next) {
        const struct graphql_type *type = operation->kind == GRAPHQL_QUERY      ? schema->query
                                          : operation->kind == GRAPHQL_MUTATION ? schema->mutation
                                                                                : NULL;
        struct entries entries = collect_all(validation, type, operation->selections);

        compare(validation, &entries, &entries, false);
        check_sets(validation, type, operation->selections);
    }
    for (const struct graphql_fragment *fragment = validation->document->fragments; fragment;
            fragment = fragment->next) {
        struct entries entries = collect_all(validation, fragment->type, fragment->selections);

        compare(validation, &entries, &entries, false);
        check_sets(validation, fragment->type, fragment->selections);
    }
}
