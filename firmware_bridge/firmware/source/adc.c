/* The microcontroller's own converter behind an amplifier of fixed gain, whose output rests at half of its supply.
 *
 * It has no queue: when the main loop comes late, only the newest value can be had, and the others count as left out.
 * -DADC_GAIN_MILLI= and -DADC_VREF_UV= say what the amplifier and the supply are.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stddef.h>

#include "../core/sampler.h"
#include "../core/source.h"
#include "../hal/hal.h"

#ifndef ADC_GAIN_MILLI
#define ADC_GAIN_MILLI 1000000U
#endif
#ifndef ADC_VREF_UV
#define ADC_VREF_UV 1649194U /* half of 3.3 V less half a count: counts x VREF / (2^11 - 1) are then 3.3 V / 2^12 */
#endif

#define BITS 12U
#define MIDDLE 2048
#define MOST_MHZ 2000000U
#define DEFAULT_MHZ 1000000U

static sampler timer;
static uint32_t newest; /* samples due at the last look */
static bool running;

bool source_begin(void)
{
    running = false;
    return true;
}

const source_facts *source_about(void)
{
    static source_facts facts = {.hardware = NULL, .vref_uv = ADC_VREF_UV, .bits = BITS, .ring = false};
    facts.hardware = hal_board;
    return &facts;
}

void source_default(source_setting *setting)
{
    *setting = (source_setting){.rate_mhz = DEFAULT_MHZ};
    for (uint32_t c = 0U; c < CHANNELS; c++) {
        setting->gain_milli[c] = ADC_GAIN_MILLI;
    }
}

bool source_can(const source_setting *setting)
{
    bool can = (setting->rate_mhz > 0U) && (setting->rate_mhz <= MOST_MHZ) && !setting->drive_on &&
               (setting->sense_p == 0U) && (setting->sense_n == 0U);
    for (uint32_t c = 0U; c < CHANNELS; c++) {
        can = can && (setting->gain_milli[c] == ADC_GAIN_MILLI);
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
    newest = 0U;
    running = true;
}

void source_stop(void)
{
    running = false;
}

uint32_t source_due(uint32_t now_us)
{
    newest = sampler_due(&timer, now_us);
    return newest;
}

bool source_take(uint32_t number, source_sample *sample)
{
    const bool is_newest = (number + 1U) == newest;
    const uint32_t due_us = sampler_next_us(&timer);
    if (is_newest) {
        for (uint32_t c = 0U; c < CHANNELS; c++) {
            sample->counts[c] = (int32_t)hal_adc_read(c) - MIDDLE;
        }
        sample->clock_us = due_us;
        sample->off_p = 0U;
        sample->off_n = 0U;
    }
    return is_newest;
}
