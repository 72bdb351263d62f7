/* The descriptions that can be found. A linker leaves them out where nobody asks for the nearest one.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stddef.h>

#include "myosem.h"
#include "myosem_gallery_arrays.h"
#include "myosem_numbers.h"

uint32_t myosem_nearest(const int16_t *z, int32_t *cosine_q15)
{
    uint32_t nearest = 0U;
    int64_t highest = INT64_MIN;
    for (uint32_t place = 0U; place < MYOSEM_GALLERY; place++) {
        int64_t total = 0;
        for (uint32_t i = 0U; i < MYOSEM_EMBEDDING; i++) {
            total += (int64_t)gallery[(place * MYOSEM_EMBEDDING) + i] * z[i];
        }
        if (total > highest) {
            highest = total;
            nearest = place;
        }
    }
    if (cosine_q15 != NULL) {
        *cosine_q15 = (int32_t)myosem_shift(highest, 15U);
    }
    return nearest;
}

const char *myosem_action(uint32_t place)
{
    return (place < MYOSEM_GALLERY) ? actions[place] : NULL;
}
