/* schemas/catalogue_row_json.c - rows of the catalogue stores as JSON, for dumps and operators. */
#include "schemas/catalogue_records.h"
#include "schemas/stock_records.h"

bool catalogue_row_json(const char *store, struct tally_slice row, struct tally_buf *out)
{
    return strcmp(store, "warehouse") == 0 && stock_row_json(store, row, out);
}
