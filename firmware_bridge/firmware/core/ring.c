/* SPDX-License-Identifier: Apache-2.0 */
#include "ring.h"

void ring_init(ring *self, uint8_t *bytes, uint32_t size)
{
    self->bytes = bytes;
    self->size = size;
    atomic_init(&self->put, 0U);
    atomic_init(&self->got, 0U);
}

uint32_t ring_used(ring *self)
{
    const uint32_t got = atomic_load_explicit(&self->got, memory_order_acquire);
    return atomic_load_explicit(&self->put, memory_order_acquire) - got;
}

uint32_t ring_room(ring *self)
{
    return self->size - ring_used(self);
}

bool ring_put(ring *self, const uint8_t *bytes, uint32_t count)
{
    const bool fits = count <= ring_room(self);
    if (fits) {
        const uint32_t put = atomic_load_explicit(&self->put, memory_order_relaxed);
        for (uint32_t i = 0U; i < count; i++) {
            self->bytes[(put + i) & (self->size - 1U)] = bytes[i];
        }
        atomic_store_explicit(&self->put, put + count, memory_order_release);
    }
    return fits;
}

uint32_t ring_front(ring *self, const uint8_t **bytes)
{
    const uint32_t at = atomic_load_explicit(&self->got, memory_order_relaxed) & (self->size - 1U);
    const uint32_t used = ring_used(self);
    const uint32_t to_end = self->size - at;
    *bytes = &self->bytes[at];
    return (used < to_end) ? used : to_end;
}

void ring_drop(ring *self, uint32_t count)
{
    const uint32_t got = atomic_load_explicit(&self->got, memory_order_relaxed);
    atomic_store_explicit(&self->got, got + count, memory_order_release);
}

bool ring_take(ring *self, uint8_t *byte)
{
    const uint8_t *front = &self->bytes[0];
    const bool found = ring_front(self, &front) > 0U;
    if (found) {
        *byte = *front;
        ring_drop(self, 1U);
    }
    return found;
}
