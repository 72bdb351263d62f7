/* A ring of bytes with one writer and one reader, of which one may be an interrupt.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef RING_H
#define RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Its fields belong to this module. */
typedef struct {
    uint8_t *bytes;
    uint32_t size; /* a power of two */
    _Atomic uint32_t put; /* bytes ever written, modulo 2^32 */
    _Atomic uint32_t got; /* bytes ever read */
} ring;

void ring_init(ring *self, uint8_t *bytes, uint32_t size);
uint32_t ring_used(ring *self);
uint32_t ring_room(ring *self);

/* All of them, or none where there is no room. */
bool ring_put(ring *self, const uint8_t *bytes, uint32_t count);

/* The oldest bytes that lie side by side: their number, and where they are. */
uint32_t ring_front(ring *self, const uint8_t **bytes);

/* Forgets so many of the oldest. */
void ring_drop(ring *self, uint32_t count);

/* The oldest byte; false: there is none. */
bool ring_take(ring *self, uint8_t *byte);

#endif
