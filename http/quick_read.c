/* http/quick_read.c - see quick_read.h. Single rows: levels and sagas, and products where
 * there is no cache. Limits are counted in Redis, and a signed token takes longer than its read. */
#include "http/quick_read.h"

#include "http/limits.h"
#include "http/router.h"

bool quick_read_is(const struct exchange *exchange)
{
    struct tally_slice credentials = request_header(&exchange->request, "Authorization");
    bool quick = false;

    if (!exchange->route || limits_count(exchange) ||
            (credentials.data && memchr(credentials.data, '.', credentials.len))) {
        return false;
    }
    switch (exchange->route->id) {
    case ROUTE_STOCK_LEVEL:
        quick = !exchange->request.query.data; /* not its past */
        break;
    case ROUTE_RESERVATION:
    case ROUTE_TRANSFER:
        quick = true;
        break;
    case ROUTE_PRODUCT_ID:
    case ROUTE_PRODUCT_SLUG:
        quick = !exchange->cache;
        break;
    default:
        break;
    }
    return quick;
}
