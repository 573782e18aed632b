/* http/graphql/graphql_validate_subscriptions.c - the rule about subscriptions: one field at the
 * root, and none of introspection. What @skip and @include say is not looked at. */
#include "http/graphql/graphql_validate.h"

#define TEXT(slice) ((slice).len < 100 ? (int)(slice).len : 100), (const char *)(slice).data

/* Response keys at the root of one subscription, each once. */
struct key {
    const struct graphql_selection *first;
    struct key *next;
};
struct roots {
    struct graphql_validation *validation;
    bool *visited; /* by index of fragment */
    struct key *keys, **last;
};

static void add(struct roots *roots, const struct graphql_selection *selection)
{
    struct key *key = roots->keys;

    while (key && !tally_slice_equal(key->first->key, selection->key)) {
        key = key->next;
    }
    if (!key) {
        key = tally_arena_alloc(roots->validation->errors->arena, sizeof *key);
        *key = (struct key){.first = selection};
        *roots->last = key;
        roots->last = &key->next;
    }
}

static void collect(struct roots *roots, const struct graphql_selection *selections)
{
    for (; selections; selections = selections->next) {
        const struct graphql_fragment *fragment = selections->fragment;

        if (selections->kind == GRAPHQL_FIELD) {
            add(roots, selections);
        } else if (selections->kind == GRAPHQL_INLINE) {
            collect(roots, selections->selections);
        } else if (fragment && !roots->visited[fragment->index]) {
            roots->visited[fragment->index] = true;
            collect(roots, fragment->selections);
        }
    }
}

static void refuse(struct roots *roots, const struct graphql_operation *operation,
        const struct graphql_selection *field, const char *what)
{
    struct graphql_errors *errors = roots->validation->errors;

    if (operation->name.len > 0) {
        graphql_errors_add(errors, GRAPHQL_INVALID, field->at, "Subscription \"%.*s\" must %s.",
                TEXT(operation->name), what);
    } else {
        graphql_errors_add(errors, GRAPHQL_INVALID, field->at, "Anonymous Subscription must %s.",
                what);
    }
}

static void check(struct graphql_validation *validation, const struct graphql_operation *operation)
{
    size_t size = validation->document->fragment_count + 1;
    struct roots roots = {.validation = validation,
            .visited = tally_arena_alloc(validation->errors->arena, size)};

    memset(roots.visited, 0, size);
    roots.last = &roots.keys;
    collect(&roots, operation->selections);
    if (roots.keys && roots.keys->next) {
        refuse(&roots, operation, roots.keys->next->first, "select only one top level field");
    }
    for (const struct key *key = roots.keys; key; key = key->next) {
        if (tally_slice_starts(key->first->name, TALLY_SLICE("__"))) {
            refuse(&roots, operation, key->first, "not select an introspection top level field");
        }
    }
}

void graphql_validate_subscriptions(struct graphql_validation *validation)
{
    for (const struct graphql_operation *operation = validation->document->operations; operation;
            operation = operation->next) {
        if (operation->kind == GRAPHQL_SUBSCRIPTION && validation->schema->subscription) {
            check(validation, operation);
        }
    }
}
