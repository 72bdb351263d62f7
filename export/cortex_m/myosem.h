/* myosem: an EMG encoder in integers. A frame of samples goes in, the hidden layer h and the embedding z come out.
 *
 * No heap, no floating point, no library but memcpy and memset. All state is the caller's, so several arms can be
 * decoded side by side; nothing here may be called for one state from two places at once.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MYOSEM_H
#define MYOSEM_H

#include <stdbool.h>
#include <stdint.h>

#include "myosem_sizes.h"

#define MYOSEM_FRAME_VALUES (MYOSEM_FRAME_SAMPLES * MYOSEM_CHANNELS)

/* How the wearer's electrodes relate to the model's, as calibration finds it. */
typedef struct {
    bool mirrored;  /* the ring is worn on the other arm */
    uint32_t shift; /* electrodes that it is turned by, below MYOSEM_CHANNELS */
    uint32_t scale_q16[MYOSEM_CHANNELS]; /* RMS per channel of the ring turned over where mirrored, times 65536, not 0 */
} myosem_fit;

/* Everything that lasts from frame to frame. Its fields belong to the kernel. */
typedef struct {
    uint32_t source[MYOSEM_CHANNELS];  /* place among the samples of each of the model's channels */
    int64_t inverse[MYOSEM_CHANNELS];  /* of its scale, 30 to 31 bits */
    uint32_t inverse_shift[MYOSEM_CHANNELS];
    int32_t delays[MYOSEM_CHANNELS][MYOSEM_SECTIONS + 1][2]; /* before, between and after the biquads */
    int32_t line[(MYOSEM_TAPS - 1 + MYOSEM_FRAME_SAMPLES) * MYOSEM_CHANNELS]; /* Q16 of the scale, oldest first */
    uint64_t powers[MYOSEM_POWER_FRAMES][MYOSEM_MIXTURES]; /* Q32, summed over a frame; a ring */
    uint64_t slow_power[MYOSEM_MIXTURES];                  /* sum over the last MYOSEM_SLOW_FRAMES of the ring */
    uint64_t channel_power[MYOSEM_CHANNELS];               /* of the last frame */
    uint32_t newest_power;                                 /* place in the ring */
    uint8_t history[MYOSEM_HISTORY_BYTES];                 /* inputs of every block; rings one after the other */
    uint32_t oldest[MYOSEM_BLOCKS];                        /* place in each of them */
} myosem_state;

/* A cold start. `fit` may be NULL: a right arm, worn as shown, at a typical level.
 * False, and nothing is written: the shift or a scale is out of range.
 */
bool myosem_init(myosem_state *state, const myosem_fit *fit);

/* One frame, sample by sample, in the unit of the front end: MYOSEM_FRAME_VALUES values in, MYOSEM_WIDTH and
 * MYOSEM_EMBEDDING values out. h means (h - MYOSEM_H_ZERO) * MYOSEM_H_STEP; z is of unit length in Q15.
 */
void myosem_push_frame(myosem_state *state, const int16_t *samples, uint8_t *h, int16_t *z);

/* The description nearest to z: its place in the gallery, and the cosine in Q15 where `cosine_q15` is not NULL. */
uint32_t myosem_nearest(const int16_t *z, int32_t *cosine_q15);

/* Action id of a place in the gallery; NULL from MYOSEM_GALLERY on. */
const char *myosem_action(uint32_t place);

#endif
