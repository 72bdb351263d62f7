/* The least program that decodes: what `make size` weighs. A real one fills `samples` from its front end.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stddef.h>

#include "../myosem.h"
#include "place.h"

static myosem_state state;
static volatile int16_t samples[MYOSEM_FRAME_VALUES];

int main(void)
{
    uint32_t nearest = 0U;
    (void)myosem_init(&state, NULL);
    for (uint32_t f = 0U; f < 40U; f++) {
        int16_t frame[MYOSEM_FRAME_VALUES];
        uint8_t h[MYOSEM_WIDTH];
        int16_t z[MYOSEM_EMBEDDING];
        for (uint32_t i = 0U; i < MYOSEM_FRAME_VALUES; i++) {
            frame[i] = samples[i];
        }
        myosem_push_frame(&state, frame, h, z);
        nearest = myosem_nearest(z, NULL);
    }
    place_put(myosem_action(nearest));
    place_put("\n");
    return 0;
}
