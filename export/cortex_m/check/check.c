/* Runs the golden vectors of the bundle and says what differs. The same program runs on this computer, in an emulator
 * and on a board; -DCHECK_BYTES prints every byte of h and z, so that two of them can be compared.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stddef.h>
#include <string.h>

#include "../myosem.h"
#include "../myosem_body.h"
#include "golden.h"
#include "place.h"

static myosem_state state;

static void put_count(const char *what, uint32_t count, uint32_t total)
{
    place_put(what);
    place_put_number(count);
    place_put(" of ");
    place_put_number(total);
    place_put("\n");
}

#ifdef CHECK_BYTES
static void put_bytes(const char *what, const uint8_t *bytes, uint32_t count)
{
    static const char digits[] = "0123456789abcdef";
    char pair[3] = {'\0', '\0', '\0'};
    place_put(what);
    for (uint32_t i = 0U; i < count; i++) {
        pair[0] = digits[bytes[i] >> 4U];
        pair[1] = digits[bytes[i] & 15U];
        place_put(pair);
    }
    place_put("\n");
}
#endif

/* Bytes of h that differ from the reference, from the same features. */
static uint32_t body_differences(void)
{
    uint32_t differences = 0U;
    (void)myosem_init(&state, NULL);
    for (uint32_t f = 0U; f < GOLDEN_FRAMES; f++) {
        uint8_t x[MYOSEM_WIDTH];
        (void)memcpy(x, &golden_features[f * MYOSEM_WIDTH], sizeof(x));
        myosem_body_step(&state, x);
        for (uint32_t i = 0U; i < MYOSEM_WIDTH; i++) {
            differences += (x[i] != golden_h[(f * MYOSEM_WIDTH) + i]) ? 1U : 0U;
        }
    }
    return differences;
}

int main(void)
{
    uint32_t equal = 0U;
    const uint32_t differences = body_differences();

    (void)myosem_init(&state, &golden_fit);
    for (uint32_t f = 0U; f < GOLDEN_FRAMES; f++) {
        uint8_t h[MYOSEM_WIDTH];
        int16_t z[MYOSEM_EMBEDDING];
        place_begin();
        myosem_push_frame(&state, &golden_samples[f * MYOSEM_FRAME_VALUES], h, z);
        place_end();
        equal += (myosem_nearest(z, NULL) == golden_nearest[f]) ? 1U : 0U;
#ifdef CHECK_BYTES
        uint8_t bytes[2U * MYOSEM_EMBEDDING];
        for (uint32_t i = 0U; i < MYOSEM_EMBEDDING; i++) {
            bytes[2U * i] = (uint8_t)((uint16_t)z[i] & 255U);
            bytes[(2U * i) + 1U] = (uint8_t)((uint16_t)z[i] >> 8U);
        }
        put_bytes("h ", h, MYOSEM_WIDTH);
        put_bytes("z ", bytes, sizeof(bytes));
#endif
    }
    put_count("bytes of h that differ, from the same features: ", differences, GOLDEN_FRAMES * MYOSEM_WIDTH);
    put_count("nearest descriptions that are the same, from samples: ", equal, GOLDEN_FRAMES);
    place_report(GOLDEN_FRAMES);
    return (differences == 0U) ? 0 : 1;
}
