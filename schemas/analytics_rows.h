/* schemas/analytics_rows.h - rows of the analytics projections. They are compact and private to
 * tally: store values, and values of changelogs. */
#pragma once
#include "engine/base/bytes.h"

/* LOW_STOCK: severity . sku . warehouse. FINE rows hold the threshold of a level that has one and
 * needs no attention; they are no part of an answer. */
enum low_stock_severity {
    LOW_STOCK_OVERSOLD, /* available < 0 */
    LOW_STOCK_OUT,      /* available = 0 */
    LOW_STOCK_LOW,      /* available <= threshold */
    LOW_STOCK_FINE,
    LOW_STOCK_SEVERITIES
};
struct low_stock_row {
    int64_t available;
    bool has_threshold;
    int64_t threshold;
    int64_t version;    /* of the level */
    int64_t updated_at; /* of the level, ms */
};
void analytics_low_stock_pack(const struct low_stock_row *low, struct tally_buf *row);
bool analytics_low_stock_unpack(struct tally_slice row,
        struct low_stock_row *low); /* false: damaged */

/* MOVEMENT: window . start . warehouse . kind */
struct movement_row {
    int64_t count;    /* events */
    int64_t quantity; /* units that they moved, whichever way */
};
void analytics_movement_pack(const struct movement_row *movement, struct tally_buf *row);
bool analytics_movement_unpack(struct tally_slice row, struct movement_row *movement);

/* EXPIRING: expires_at . reservation_id; of CONFIRMED reservations */
struct expiring_row {
    int64_t version; /* of the reservation */
    int64_t lines, units;
    struct tally_slice owner; /* empty: none */
};
void analytics_expiring_pack(const struct expiring_row *expiring, struct tally_buf *row);
bool analytics_expiring_unpack(struct tally_slice row, struct expiring_row *expiring);
