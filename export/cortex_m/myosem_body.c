/* SPDX-License-Identifier: Apache-2.0 */
#include "myosem_body.h"

#include <string.h>

#include "myosem_numbers.h"

#define TAPS 3U
#define ROWS 4U /* the exporter sees to it that they divide width and embedding */

/* Three depthwise taps, ReLU, a pointwise mixture, addition. Multipliers are the bits of IEEE singles; zeros of the
 * inputs are in the biases.
 */
typedef struct {
    uint32_t dilation;
    const int8_t *taps; /* (width, 3), oldest first */
    const int32_t *taps_bias;
    const uint32_t *taps_multiplier;
    int32_t middle_zero;
    const int8_t *mix; /* (width out, width in) */
    const int32_t *mix_bias;
    const uint32_t *mix_multiplier;
    myosem_scale in;
    myosem_scale branch;
    myosem_scale out;
} block;

#include "myosem_body_arrays.h"

_Static_assert(((MYOSEM_WIDTH % ROWS) == 0U) && ((MYOSEM_EMBEDDING % ROWS) == 0U), "rows come in groups");

#define VIEW_VALUES (MYOSEM_EMBEDDING / MYOSEM_VIEWS)
#define LARGEST_Q15 32767
#define ROOM_BITS 27U /* of a value whose squares are summed: 2^9 of them stay below 2^63 */

void myosem_body_init(myosem_state *state)
{
    uint8_t *history = state->history;
    for (uint32_t i = 0U; i < MYOSEM_BLOCKS; i++) {
        const uint32_t size = (TAPS - 1U) * blocks[i].dilation * MYOSEM_WIDTH;
        (void)memset(history, (int)blocks[i].in.zero, size);
        history = &history[size];
        state->oldest[i] = 0U;
    }
}

/* ROWS rows of weights at once: every value is fetched once for all of them. */
static void dots(const int8_t *weights, const uint8_t *values, const int32_t *bias, int32_t totals[ROWS])
{
    int32_t t0 = bias[0];
    int32_t t1 = bias[1];
    int32_t t2 = bias[2];
    int32_t t3 = bias[3];
    for (uint32_t i = 0U; i < MYOSEM_WIDTH; i++) {
        const int32_t value = values[i];
        t0 += value * weights[i];
        t1 += value * weights[i + MYOSEM_WIDTH];
        t2 += value * weights[i + (2U * MYOSEM_WIDTH)];
        t3 += value * weights[i + (3U * MYOSEM_WIDTH)];
    }
    totals[0] = t0;
    totals[1] = t1;
    totals[2] = t2;
    totals[3] = t3;
}

/* `history`: the last 2 * dilation inputs, a ring whose oldest entry the new input replaces. */
static void block_step(const block *self, uint8_t *history, uint32_t *oldest, uint8_t *x)
{
    const uint32_t frames = (TAPS - 1U) * self->dilation;
    uint8_t *const first = &history[*oldest * MYOSEM_WIDTH];
    const uint8_t *const second = &history[((*oldest + self->dilation) % frames) * MYOSEM_WIDTH];
    uint8_t middle[MYOSEM_WIDTH];

    for (uint32_t c = 0U; c < MYOSEM_WIDTH; c++) {
        const int8_t *const taps = &self->taps[c * TAPS];
        const int32_t total = self->taps_bias[c] + (taps[0] * (int32_t)first[c]) + (taps[1] * (int32_t)second[c]) +
                              (taps[2] * (int32_t)x[c]);
        middle[c] = myosem_requantise(total, self->taps_multiplier[c], self->middle_zero);
    }
    (void)memcpy(first, x, MYOSEM_WIDTH);
    *oldest = (*oldest + 1U) % frames;
    for (uint32_t c = 0U; c < MYOSEM_WIDTH; c += ROWS) {
        int32_t totals[ROWS];
        dots(&self->mix[c * MYOSEM_WIDTH], middle, &self->mix_bias[c], totals);
        for (uint32_t r = 0U; r < ROWS; r++) {
            const uint8_t branch = myosem_requantise(totals[r], self->mix_multiplier[c + r], self->branch.zero);
            x[c + r] = myosem_add(x[c + r], &self->in, branch, &self->branch, &self->out);
        }
    }
}

void myosem_body_step(myosem_state *state, uint8_t *x)
{
    uint8_t *history = state->history;
    for (uint32_t i = 0U; i < MYOSEM_BLOCKS; i++) {
        block_step(&blocks[i], history, &state->oldest[i], x);
        history = &history[(TAPS - 1U) * blocks[i].dilation * MYOSEM_WIDTH];
    }
}

void myosem_body_project(const uint8_t *h, int32_t *accumulators)
{
    for (uint32_t e = 0U; e < MYOSEM_EMBEDDING; e += ROWS) {
        dots(&project[e * MYOSEM_WIDTH], h, &project_bias[e], &accumulators[e]);
    }
}

void myosem_body_unit(const int32_t *accumulators, int16_t *z)
{
    for (uint32_t v = 0U; v < MYOSEM_VIEWS; v++) {
        int64_t values[VIEW_VALUES];
        uint64_t any = 0U;
        for (uint32_t i = 0U; i < VIEW_VALUES; i++) {
            const uint32_t e = (v * VIEW_VALUES) + i;
            values[i] = (int64_t)accumulators[e] * project_gain[e];
            any |= (uint64_t)((values[i] < 0) ? -values[i] : values[i]);
        }
        const uint32_t bits = myosem_bit_length(any);
        uint64_t squares = 0U;
        for (uint32_t i = 0U; i < VIEW_VALUES; i++) {
            values[i] = (bits > ROOM_BITS) ? myosem_shift(values[i], bits - ROOM_BITS) : values[i];
            squares += (uint64_t)(values[i] * values[i]);
        }
        const int64_t norm = (int64_t)myosem_root(squares);
        for (uint32_t i = 0U; i < VIEW_VALUES; i++) {
            const int64_t scaled = values[i] * view_scale_q15[v];
            const int64_t half = (scaled < 0) ? -(norm / 2) : (norm / 2);
            const int64_t unit = (norm == 0) ? 0 : ((scaled + half) / norm);
            z[(v * VIEW_VALUES) + i] = (int16_t)myosem_clamp(unit, LARGEST_Q15);
        }
    }
}
