/* How many samples are due by a free-running clock, however seldom it is looked at. A late look makes up for all that
 * it missed, as a converter with a queue would; no interrupt has to be counted.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef SAMPLER_H
#define SAMPLER_H

#include <stdint.h>

/* Its fields belong to this module. */
typedef struct {
    uint32_t rate_mhz;
    uint32_t last_us;
    uint64_t credit; /* thousandths of a hertz times microseconds that no sample was made of */
    uint32_t due;
    uint32_t next_us; /* when the sample before the next one was due */
    uint32_t next_rest;
} sampler;

/* The first sample is due one period from now. `rate_mhz` is not 0. */
void sampler_start(sampler *self, uint32_t rate_mhz, uint32_t now_us);

/* Another rate from here on; what is due stays due. */
void sampler_set_rate(sampler *self, uint32_t rate_mhz, uint32_t now_us);

/* Samples due since the start, modulo 2^32. To be asked at least once in 2^32 microseconds. */
uint32_t sampler_due(sampler *self, uint32_t now_us);

/* When the next sample, in order, was due. To be asked once for every sample. */
uint32_t sampler_next_us(sampler *self);

#endif
