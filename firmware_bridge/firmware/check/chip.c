/* SPDX-License-Identifier: Apache-2.0 */
#include "chip.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "../hal/hal.h"

uint8_t chip_registers[CHIP_REGISTERS];
uint32_t chip_slips;
uint32_t chip_status;
uint32_t chip_resets;
uint32_t chip_late;

static uint8_t id;
static bool converting;
static bool continuous;
static uint32_t begun_us;
static uint32_t made; /* conversions since the start */
static uint32_t conversions;
static uint32_t clock_us;

static void reset(void)
{
    (void)memset(chip_registers, 0, sizeof(chip_registers));
    chip_registers[0] = id;
    converting = false;
    continuous = true;
    chip_resets++;
}

void chip_power_up(uint8_t its_id)
{
    id = its_id;
    conversions = 0U;
    reset();
    chip_resets = 0U;
}

static uint32_t period_us(void)
{
    const uint32_t code = chip_registers[1] & 7U;
    uint32_t period = 500U;
    if (id == 0x92U) {
        period = ((chip_registers[1] & 0x80U) != 0U) ? (500U << (code - 4U)) : 4000U;
    } else {
        period = 500U << (code - 3U);
    }
    return period;
}

void chip_run(uint32_t now_us)
{
    clock_us = now_us;
    while (converting && ((now_us - begun_us) >= ((made + 1U) * period_us()))) {
        made++;
        conversions++;
    }
}

void hal_ads_reset(void)
{
    reset();
}

uint32_t hal_ads_conversions(void)
{
    return conversions;
}

/* Channel c of conversion n: n x 16 + c, negative in odd channels. */
static void conversion(uint8_t *bytes)
{
    const uint32_t status = 0xC00000U | (chip_status << 4U) | 5U;
    for (uint32_t i = 0U; i < 9U; i++) {
        const int32_t value = (int32_t)((made - 1U) * 16U) + (int32_t)i - 1;
        const uint32_t word = (i == 0U) ? status : (uint32_t)(((i & 1U) != 0U) ? value : -value);
        bytes[3U * i] = (uint8_t)(word >> 16U);
        bytes[(3U * i) + 1U] = (uint8_t)(word >> 8U);
        bytes[(3U * i) + 2U] = (uint8_t)word;
    }
    if (chip_slips > 0U) {
        chip_slips--;
        for (uint32_t i = 26U; i > 0U; i--) {
            bytes[i] = (uint8_t)(((uint32_t)bytes[i] >> 1U) | ((uint32_t)bytes[i - 1U] << 7U));
        }
        bytes[0] >>= 1U;
    }
}

void hal_ads_transfer(const uint8_t *out, uint8_t *in, uint32_t count)
{
    const uint8_t code = out[0];
    if (id == 0U) {
        continuous = false;
    } else if ((count == 27U) && continuous) {
        conversion(in);
        if (chip_late > 0U) {
            chip_late--;
            chip_run(begun_us + ((made + 1U) * period_us()));
        }
    } else if (code == 0x06U) {
        reset();
    } else if (code == 0x08U) {
        converting = true;
        begun_us = clock_us;
        made = 0U;
    } else if (code == 0x0AU) {
        converting = false;
    } else if ((code == 0x10U) || (code == 0x11U)) {
        continuous = code == 0x10U;
    } else if (((code & 0xE0U) == 0x20U) && !continuous && (in != NULL)) {
        (void)memcpy(&in[2], &chip_registers[code & 31U], count - 2U);
    } else if (((code & 0xE0U) == 0x40U) && !continuous) {
        (void)memcpy(&chip_registers[code & 31U], &out[2], count - 2U);
    } else {
        /* not heard */
    }
}
