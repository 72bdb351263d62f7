/* SPDX-License-Identifier: Apache-2.0 */
#include "myosem.h"

#include "myosem_body.h"
#include "myosem_front.h"

bool myosem_init(myosem_state *state, const myosem_fit *fit)
{
    const bool valid = myosem_front_init(state, fit);
    if (valid) {
        myosem_body_init(state);
    }
    return valid;
}

void myosem_push_frame(myosem_state *state, const int16_t *samples, uint8_t *h, int16_t *z)
{
    int32_t accumulators[MYOSEM_EMBEDDING];

    myosem_front_step(state, samples, h);
    myosem_body_step(state, h);
    myosem_body_project(h, accumulators);
    myosem_body_unit(accumulators, z);
}
