/* The front in fixed point: samples -> filter -> the wearer's scale -> power of the mixtures -> logarithm -> features.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MYOSEM_FRONT_H
#define MYOSEM_FRONT_H

#include "myosem.h"

bool myosem_front_init(myosem_state *state, const myosem_fit *fit);

/* `features`: MYOSEM_WIDTH values at the scale of the body's inlet. */
void myosem_front_step(myosem_state *state, const int16_t *samples, uint8_t *features);

#endif
