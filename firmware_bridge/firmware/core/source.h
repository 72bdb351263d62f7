/* Where samples come from. One file of `source/` is linked in.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef SOURCE_H
#define SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#ifndef CHANNELS
#define CHANNELS 8U
#endif

_Static_assert((CHANNELS >= 1U) && (CHANNELS <= 8U), "a mask is one byte");

/* How a source measures. Masks have one bit per channel, channel 0 lowest. */
typedef struct {
    uint32_t rate_mhz;            /* thousandths of a hertz */
    uint32_t gain_milli[CHANNELS]; /* thousandths */
    bool drive_on;                /* lead-off current or voltage is applied */
    uint8_t sense_p;              /* inputs whose lead-off bits mean something */
    uint8_t sense_n;
} source_setting;

typedef struct {
    int32_t counts[CHANNELS];
    uint32_t clock_us;
    uint8_t off_p;
    uint8_t off_n;
} source_sample;

typedef struct {
    const char *hardware; /* at most 32 bytes */
    uint32_t vref_uv;
    uint8_t bits; /* of a count; at most 24 */
    bool ring;    /* the electrodes are a ring, in order */
} source_facts;

/* Once, before anything else. False: the converter is not there; then nothing can be started. */
bool source_begin(void);

const source_facts *source_about(void);

/* What holds after power-up. */
void source_default(source_setting *setting);

/* Whether it can measure so. */
bool source_can(const source_setting *setting);

/* Measure so from now on; only after `source_can`. It may cost samples, which then count as left out. */
void source_apply(const source_setting *setting, uint32_t now_us);

void source_start(const source_setting *setting, uint32_t now_us);
void source_stop(void);

/* Samples since the start that exist by now, modulo 2^32. */
uint32_t source_due(uint32_t now_us);

/* Sample `number`, in order, below what is due. False: it cannot be had any more, or was damaged on the way. */
bool source_take(uint32_t number, source_sample *sample);

#endif
