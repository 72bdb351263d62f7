/* SPDX-License-Identifier: Apache-2.0 */
#include "sampler.h"

#define SAMPLE 1000000000U /* one sample: 10^6 us at one hertz, which is 1000 thousandths */

void sampler_start(sampler *self, uint32_t rate_mhz, uint32_t now_us)
{
    self->due = 0U;
    self->last_us = now_us;
    sampler_set_rate(self, rate_mhz, now_us);
}

void sampler_set_rate(sampler *self, uint32_t rate_mhz, uint32_t now_us)
{
    self->rate_mhz = rate_mhz;
    self->last_us = now_us;
    self->credit = 0U;
    self->next_us = now_us;
    self->next_rest = 0U;
}

uint32_t sampler_due(sampler *self, uint32_t now_us)
{
    self->credit += (uint64_t)(uint32_t)(now_us - self->last_us) * self->rate_mhz;
    self->last_us = now_us;
    self->due += (uint32_t)(self->credit / SAMPLE);
    self->credit %= SAMPLE;
    return self->due;
}

uint32_t sampler_next_us(sampler *self)
{
    /* A period is SAMPLE / rate; its remainder is carried, so that no time is lost in rounding. */
    const uint64_t total = (uint64_t)SAMPLE + self->next_rest;
    self->next_us += (uint32_t)(total / self->rate_mhz);
    self->next_rest = (uint32_t)(total % self->rate_mhz);
    return self->next_us;
}
