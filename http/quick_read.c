/* http/quick_read.c - see quick_read.h. Levels and sagas, but not their past, and products where
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
        quick = !exchange->request.query.data;
        break;
    case ROUTE_STOCK_SKU:
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
