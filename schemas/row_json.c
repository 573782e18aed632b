/* schemas/row_json.c - which family knows the rows of a topology; see row_json.h. */
#include "schemas/row_json.h"

#include "schemas/analytics_rows.h"
#include "schemas/catalogue_records.h"
#include "schemas/reservation_records.h"
#include "schemas/stock_records.h"
#include "schemas/transfer_records.h"

static const struct {
    const char *topology;
    bool (*write)(const char *store, struct tally_slice row, struct tally_buf *out);
} families[] = {
        {"catalogue", catalogue_row_json},
        {"expiring", analytics_row_json},
        {"low_stock", analytics_row_json},
        {"movements", analytics_row_json},
        {"reservation", reservation_row_json},
        {"stock", stock_row_json},
        {"transfer", transfer_row_json},
};

bool tally_row_json(const char *topology, const char *store, struct tally_slice row,
        struct tally_buf *out)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        if (strcmp(families[i].topology, topology) == 0) {
            return families[i].write(store, row, out);
        }
    }
    return false;
}
