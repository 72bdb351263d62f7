/* A Texas Instruments ADS1299 or ADS1298 on SPI. Sources: their data sheets (SBAS499C, SBAS459K).
 *
 * The converter's own clock decides when a sample is due: what counts is its DRDY edges. It keeps the newest conversion
 * only, so one that was not read in time counts as left out, and so does one whose status word says that the bus slipped.
 * Sensing lead-off is driving it here, with 6 nA of direct current, which is outside of the band of EMG.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "../core/source.h"

#include <stddef.h>

#include "../hal/hal.h"

#define CHIP_CHANNELS 8U
#define STATUS_BYTES 3U
#define COUNT_BYTES 3U
#define CONVERSION_BYTES (STATUS_BYTES + (CHIP_CHANNELS * COUNT_BYTES))

#define RESET 0x06U
#define START 0x08U
#define STOP 0x0AU
#define READ_CONTINUOUSLY 0x10U
#define STOP_READING 0x11U
#define READ_REGISTER 0x20U
#define WRITE_REGISTER 0x40U

#define ID 0x00U
#define CONFIG1 0x01U
#define CH1SET 0x05U
#define LOFF_SENSP 0x0FU
#define CONFIG4 0x17U
#define COMPARATORS 0x02U /* CONFIG4: those of lead-off are on */
#define ALL_INPUTS 0xFFU

#define STATUS_MARK 0xC0U /* the first four bits of every conversion are 1100 */
#define STATUS_MARK_MASK 0xF0U
#define MOST_SLIPS 8U /* in a row: the chip is set up anew */

#define POWER_UP_US 150000U /* 2^18 clocks of 2.048 MHz are 128 ms */
#define RESET_US 20U        /* 18 clocks */
#define SETTLE_US 150000U   /* of the reference */

#define RATES 4U
#define GAINS 7U

typedef struct {
    uint8_t id_mask;
    uint8_t id;
    const char *name;
    uint32_t vref_uv;
    uint8_t rates[RATES]; /* CONFIG1 for 250, 500, 1000 and 2000 Hz */
    uint8_t config2;      /* no test signal */
    uint8_t config3;      /* reference and bias on */
    uint8_t lead_off;     /* LOFF: direct current of 6 nA */
    uint8_t gains[GAINS]; /* by gain code */
} chip;

static const chip chips[2] = {
    {0x1FU, 0x1EU, "ADS1299", 4500000U, {0x96U, 0x95U, 0x94U, 0x93U}, 0xC0U, 0xECU, 0x00U,
     {1U, 2U, 4U, 6U, 8U, 12U, 24U}},
    {0xBFU, 0x92U, "ADS1298", 2400000U, {0x06U, 0x86U, 0x85U, 0x84U}, 0x00U, 0xCCU, 0x03U,
     {6U, 1U, 2U, 3U, 4U, 8U, 12U}},
};
#define BITS 24U
#define DEFAULT_MHZ 1000000U
#define DEFAULT_GAIN_MILLI 12000U /* both chips have it; skin and dry electrodes may differ by 300 mV, 24 rails at 187 */

static const chip *found;
static char hardware[33]; /* "ADS1299 on BOARD" */
static bool running;
static uint32_t begun;  /* conversions at the start */
static uint32_t newest; /* since the start, at the last look */
static uint32_t slips;  /* in a row */
static source_setting current;

static void command(uint8_t code)
{
    hal_ads_transfer(&code, NULL, 1U);
}

static uint8_t read_register(uint8_t at)
{
    const uint8_t out[3] = {(uint8_t)(READ_REGISTER | at), 0U, 0U};
    uint8_t in[3] = {0U, 0U, 0U};
    hal_ads_transfer(out, in, 3U);
    return in[2];
}

static void write_registers(uint8_t at, const uint8_t *values, uint32_t count)
{
    uint8_t out[2U + CHIP_CHANNELS] = {(uint8_t)(WRITE_REGISTER | at), (uint8_t)(count - 1U)};
    for (uint32_t i = 0U; i < count; i++) {
        out[2U + i] = values[i];
    }
    hal_ads_transfer(out, NULL, 2U + count);
}

/* Place in a chip's `rates`; RATES: it has no such rate. */
static uint32_t rate_code(uint32_t rate_mhz)
{
    static const uint32_t rates_mhz[RATES] = {250000U, 500000U, 1000000U, 2000000U};
    uint32_t code = RATES;
    for (uint32_t i = 0U; i < RATES; i++) {
        if (rates_mhz[i] == rate_mhz) {
            code = i;
        }
    }
    return code;
}

/* GAINS: it has no such gain. */
static uint32_t gain_code(const chip *which, uint32_t gain_milli)
{
    uint32_t code = GAINS;
    for (uint32_t i = 0U; i < GAINS; i++) {
        if (gain_milli == (1000U * which->gains[i])) {
            code = i;
        }
    }
    return code;
}

static void set_up(const source_setting *setting)
{
    const uint8_t config[4] = {found->rates[rate_code(setting->rate_mhz)], found->config2, found->config3,
                               found->lead_off};
    const uint8_t sense[2] = {setting->drive_on ? setting->sense_p : 0U, setting->drive_on ? setting->sense_n : 0U};
    const uint8_t bias[2] = {ALL_INPUTS, ALL_INPUTS};
    const uint8_t comparators = setting->drive_on ? COMPARATORS : 0U;
    uint8_t channels[CHIP_CHANNELS];

    for (uint32_t c = 0U; c < CHIP_CHANNELS; c++) {
        const uint32_t milli = (c < CHANNELS) ? setting->gain_milli[c] : setting->gain_milli[0];
        channels[c] = (uint8_t)(gain_code(found, milli) << 4U); /* input: the electrodes */
    }
    command(STOP_READING);
    write_registers(CONFIG1, config, 4U);
    write_registers(CH1SET, channels, CHIP_CHANNELS);
    write_registers(LOFF_SENSP - 2U, bias, 2U);
    write_registers(LOFF_SENSP, sense, 2U);
    write_registers(CONFIG4, &comparators, 1U);
    command(READ_CONTINUOUSLY);
}

/* Reset, and see who is there. */
static void look(void)
{
    found = NULL;
    hal_ads_reset();
    command(RESET);
    hal_delay_us(RESET_US);
    command(STOP_READING);
    const uint8_t id = read_register(ID);
    for (uint32_t i = 0U; i < 2U; i++) {
        if ((id & chips[i].id_mask) == chips[i].id) {
            found = &chips[i];
        }
    }
}

static void name_hardware(void)
{
    const char *const parts[3] = {(found != NULL) ? found->name : "no ADS129x", " on ", hal_board};
    uint32_t at = 0U;
    for (uint32_t p = 0U; p < 3U; p++) {
        for (uint32_t i = 0U; (parts[p][i] != '\0') && (at < (sizeof(hardware) - 1U)); i++) {
            hardware[at] = parts[p][i];
            at++;
        }
    }
    hardware[at] = '\0';
}

bool source_begin(void)
{
    running = false;
    hal_delay_us(POWER_UP_US);
    look();
    name_hardware();
    if (found != NULL) {
        source_default(&current);
        set_up(&current);
        hal_delay_us(SETTLE_US);
    }
    return found != NULL;
}

const source_facts *source_about(void)
{
    static source_facts facts = {.hardware = hardware, .bits = BITS, .ring = false};
    facts.vref_uv = (found != NULL) ? found->vref_uv : chips[0].vref_uv;
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
    const chip *const which = (found != NULL) ? found : &chips[0];
    const bool senses = (setting->sense_p != 0U) || (setting->sense_n != 0U);
    bool can = (rate_code(setting->rate_mhz) < RATES) && (setting->drive_on == senses);
    for (uint32_t c = 0U; c < CHANNELS; c++) {
        can = can && (gain_code(which, setting->gain_milli[c]) < GAINS);
    }
    return can;
}

void source_apply(const source_setting *setting, uint32_t now_us)
{
    (void)now_us; /* the chip keeps the time */
    current = *setting;
    if (running) {
        set_up(setting);
    }
}

void source_start(const source_setting *setting, uint32_t now_us)
{
    (void)now_us;
    current = *setting;
    slips = 0U;
    newest = 0U;
    set_up(setting);
    command(START);
    begun = hal_ads_conversions();
    running = true;
}

void source_stop(void)
{
    command(STOP_READING);
    command(STOP);
    running = false;
}

uint32_t source_due(uint32_t now_us)
{
    (void)now_us;
    newest = hal_ads_conversions() - begun;
    return newest;
}

static int32_t signed_count(const uint8_t *bytes)
{
    const uint32_t wide = ((uint32_t)bytes[0] << 16U) | ((uint32_t)bytes[1] << 8U) | (uint32_t)bytes[2];
    return (wide < 0x800000U) ? (int32_t)wide : ((int32_t)wide - 0x1000000);
}

/* The status is 1100, eight bits of P, eight of N, four of GPIO. False: the bus slipped, nothing in it is right. */
static bool read_conversion(source_sample *sample)
{
    static const uint8_t out[CONVERSION_BYTES] = {0U};
    uint8_t in[CONVERSION_BYTES] = {0U};
    hal_ads_transfer(out, in, CONVERSION_BYTES);
    const bool right = (in[0] & STATUS_MARK_MASK) == STATUS_MARK;
    if (right) {
        sample->off_p = (uint8_t)(((uint32_t)in[0] << 4U) | ((uint32_t)in[1] >> 4U));
        sample->off_n = (uint8_t)(((uint32_t)in[1] << 4U) | ((uint32_t)in[2] >> 4U));
        for (uint32_t c = 0U; c < CHANNELS; c++) {
            sample->counts[c] = signed_count(&in[STATUS_BYTES + (c * COUNT_BYTES)]);
        }
    }
    return right;
}

bool source_take(uint32_t number, source_sample *sample)
{
    bool had = false;
    /* A conversion that ends while it is read changes what is read. */
    if (((number + 1U) == newest) && ((hal_ads_conversions() - begun) == newest)) {
        sample->clock_us = hal_clock_us();
        const bool right = read_conversion(sample);
        had = right && ((hal_ads_conversions() - begun) == newest);
        slips = right ? 0U : (slips + 1U);
        if (slips >= MOST_SLIPS) {
            slips = 0U;
            look();
            if (found == NULL) {
                found = &chips[0]; /* it was there before: go on trying */
            }
            set_up(&current);
            command(START);
        }
    }
    return had;
}
