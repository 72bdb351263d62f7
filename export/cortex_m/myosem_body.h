/* The integer body: features -> residual blocks -> h -> z. From the same features it gives the bytes of the reference.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MYOSEM_BODY_H
#define MYOSEM_BODY_H

#include "myosem.h"

void myosem_body_init(myosem_state *state);

/* `x`: MYOSEM_WIDTH values, in which features become h. */
void myosem_body_step(myosem_state *state, uint8_t *x);

/* Accumulators of the projection, MYOSEM_EMBEDDING values. */
void myosem_body_project(const uint8_t *h, int32_t *accumulators);

/* Accumulators -> z, every view of it at its weight. */
void myosem_body_unit(const int32_t *accumulators, int16_t *z);

#endif
