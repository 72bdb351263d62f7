/* Samples that whoever reads them can foretell from their number: for tests of everything between here and a host.
 *
 * Channel 0 counts; the others scatter over the whole range. Every 4096th sample of the last channel is the largest
 * there is, so that saturation shows. Lead-off bits walk over the channels, sensed or not.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stddef.h>

#include "../core/sampler.h"
#include "../core/source.h"
#include "../hal/hal.h"

#define COUNT_MASK 0x7FFFFFU
#define MIDDLE 8388608 /* 2^23 */
#define LARGEST 8388607
#define SCATTER 2654435761U /* 2^32 divided by the golden ratio */
#define SATURATE_MASK 4095U
#define LEAST_MHZ 1000U
#define MOST_MHZ 2000000U
#define DEFAULT_MHZ 1000000U
#define DEFAULT_GAIN_MILLI 24000U

static sampler timer;
static bool running;

static int32_t count_of(uint32_t number, uint32_t channel)
{
    uint32_t mixed = ((number * 8U) + channel) * SCATTER;
    int32_t count = (int32_t)(number & COUNT_MASK);
    mixed ^= mixed >> 15U;
    if ((channel == (CHANNELS - 1U)) && ((number & SATURATE_MASK) == SATURATE_MASK)) {
        count = LARGEST;
    } else if (channel > 0U) {
        count = (int32_t)(mixed >> 8U) - MIDDLE;
    } else {
        /* it counts */
    }
    return count;
}

bool source_begin(void)
{
    running = false;
    return true;
}

const source_facts *source_about(void)
{
    static source_facts facts = {.hardware = NULL, .vref_uv = 4500000U, .bits = 24U, .ring = false};
    facts.hardware = hal_board;
    return &facts;
}

void source_default(source_setting *setting)
{
    *setting = (source_setting){.rate_mhz = DEFAULT_MHZ};
    for (uint32_t c = 0U; c < CHANNELS; c++) {
        setting->gain_milli[c] = DEFAULT_GAIN_MILLI;
    }
}

bool source_can(const source_setting *setting)
{
    static const uint32_t gains[7] = {1000U, 2000U, 4000U, 6000U, 8000U, 12000U, 24000U};
    bool can = (setting->rate_mhz >= LEAST_MHZ) && (setting->rate_mhz <= MOST_MHZ);
    for (uint32_t c = 0U; c < CHANNELS; c++) {
        bool known = false;
        for (uint32_t g = 0U; g < 7U; g++) {
            known = known || (setting->gain_milli[c] == gains[g]);
        }
        can = can && known;
    }
    return can;
}

void source_apply(const source_setting *setting, uint32_t now_us)
{
    if (running && (setting->rate_mhz != timer.rate_mhz)) {
        sampler_set_rate(&timer, setting->rate_mhz, now_us);
    }
}

void source_start(const source_setting *setting, uint32_t now_us)
{
    sampler_start(&timer, setting->rate_mhz, now_us);
    running = true;
}

void source_stop(void)
{
    running = false;
}

uint32_t source_due(uint32_t now_us)
{
    return sampler_due(&timer, now_us);
}

bool source_take(uint32_t number, source_sample *sample)
{
    for (uint32_t c = 0U; c < CHANNELS; c++) {
        sample->counts[c] = count_of(number, c);
    }
    sample->clock_us = sampler_next_us(&timer);
    sample->off_p = (uint8_t)(1U << ((number >> 9U) % CHANNELS));
    sample->off_n = (uint8_t)(1U << ((number >> 10U) % CHANNELS));
    return true;
}
