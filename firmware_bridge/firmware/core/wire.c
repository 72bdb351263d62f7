/* SPDX-License-Identifier: Apache-2.0 */
#include "wire.h"

#include <string.h>

#include "../hal/hal.h"
#include "device.h"
#include "frame.h"

#define VERSION 0x10U
#define DATA (VERSION | 1U)
#define INFO (VERSION | 2U)
#define ACKNOWLEDGE (VERSION | 3U)
#define COMMAND 8U /* of any version */

#define START 1U
#define STOP 2U
#define GET_INFO 3U
#define SET_RATE 4U
#define SET_GAIN 5U
#define SET_LEAD_OFF 6U
#define SET_MODE 7U
#define ORDERS 8U

#define DONE 0U
#define UNKNOWN 1U
#define MALFORMED 2U
#define IMPOSSIBLE 3U
#define OTHER_VERSION 4U

#define ALL_CHANNELS 255U
#define DATA_HEAD 16U /* one byte for each of the three masks included */
#define COMMAND_HEAD 3U
#define MOST_SAMPLES 16U
#define FRAMES_PER_S 100U
#define INFO_PERIOD_US 1000000U
#define MOST_TEXT 32U
#define BYTES_PER_COUNT 3U
#define MILLI 1000U

_Static_assert(DATA_HEAD + (MOST_SAMPLES * CHANNELS * BYTES_PER_COUNT) <= FRAME_MOST_BODY, "a full frame fits");
_Static_assert(14U + 2U + (4U * CHANNELS) + (3U * (MOST_TEXT + 1U)) <= FRAME_MOST_BODY, "an info frame fits");

static frame_reader reader;
static uint8_t data[FRAME_MOST_BODY + FRAME_CRC_BYTES]; /* the frame that is being filled */
static uint32_t samples;                                /* in it */
static uint32_t info_us;                                /* when the last info frame left */

static uint32_t put_number(uint8_t *bytes, uint32_t value, uint32_t size)
{
    for (uint32_t i = 0U; i < size; i++) {
        bytes[i] = (uint8_t)((value >> (8U * i)) & 0xFFU);
    }
    return size;
}

static uint32_t get_number(const uint8_t *bytes, uint32_t size)
{
    uint32_t value = 0U;
    for (uint32_t i = 0U; i < size; i++) {
        value |= (uint32_t)bytes[i] << (8U * i);
    }
    return value;
}

static uint32_t put_text(uint8_t *bytes, const char *text)
{
    const uint32_t whole = (uint32_t)strlen(text);
    const uint32_t length = (whole < MOST_TEXT) ? whole : MOST_TEXT;
    bytes[0] = (uint8_t)length;
    (void)memcpy(&bytes[1], text, length);
    return length + 1U;
}

/* False: the ring has no room. */
static bool put_frame(uint8_t *body, uint32_t count, uint32_t spare)
{
    static uint8_t framed[FRAME_MOST_WIRE];
    return device_put(framed, frame_encode(body, count, framed), spare);
}

static uint32_t samples_per_frame(uint32_t rate_mhz)
{
    const uint32_t wanted = rate_mhz / (FRAMES_PER_S * MILLI);
    return (wanted < 1U) ? 1U : ((wanted > MOST_SAMPLES) ? MOST_SAMPLES : wanted);
}

void wire_begin(void)
{
    frame_reader_init(&reader);
    samples = 0U;
}

void wire_drop(void)
{
    samples = 0U;
    info_us = hal_clock_us();
}

void wire_flush(void)
{
    if (samples > 0U) {
        const uint32_t count = DATA_HEAD + (samples * CHANNELS * BYTES_PER_COUNT);
        (void)put_number(&data[8], device_state()->overflow, 2U);
        data[10] = (uint8_t)samples;
        if (!put_frame(data, count, DEVICE_SPARE_BYTES)) {
            device_left_out(samples);
        }
        samples = 0U;
    }
}

static void begin_frame(const source_sample *sample, uint32_t number)
{
    data[0] = DATA;
    data[1] = device_state()->epoch;
    (void)put_number(&data[2], number, 2U);
    (void)put_number(&data[4], sample->clock_us, 4U);
    data[11] = CHANNELS;
    data[12] = device_state()->setting.drive_on ? 1U : 0U;
    (void)memset(&data[13], 0, 3U);
}

void wire_sample(const source_sample *sample, uint32_t number)
{
    const int32_t limit = (int32_t)((uint32_t)1U << (source_about()->bits - 1U));
    uint8_t *counts = &data[DATA_HEAD + (samples * CHANNELS * BYTES_PER_COUNT)];

    if (samples == 0U) {
        begin_frame(sample, number);
    }
    data[13] |= sample->off_p;
    data[14] |= sample->off_n;
    for (uint32_t c = 0U; c < CHANNELS; c++) {
        const int32_t count = sample->counts[c];
        if ((count >= (limit - 1)) || (count <= -limit)) {
            data[15] |= (uint8_t)(1U << c);
        }
        (void)put_number(&counts[c * BYTES_PER_COUNT], (uint32_t)count, BYTES_PER_COUNT);
    }
    samples++;
    if (samples >= samples_per_frame(device_state()->setting.rate_mhz)) {
        wire_flush();
    }
}

void wire_info(void)
{
    static uint8_t body[FRAME_MOST_BODY + FRAME_CRC_BYTES];
    const device *const now = device_state();
    const source_facts *const about = source_about();
    uint32_t at = 14U;

    body[0] = INFO;
    body[1] = now->epoch;
    body[2] = (uint8_t)((now->streaming ? 1U : 0U) | (now->setting.drive_on ? 2U : 0U) | (about->ring ? 4U : 0U));
    body[3] = CHANNELS;
    body[4] = about->bits;
    body[5] = (uint8_t)samples_per_frame(now->setting.rate_mhz);
    (void)put_number(&body[6], now->setting.rate_mhz, 4U);
    (void)put_number(&body[10], about->vref_uv, 4U);
    body[at] = now->setting.sense_p;
    body[at + 1U] = now->setting.sense_n;
    at += 2U;
    for (uint32_t c = 0U; c < CHANNELS; c++) {
        at += put_number(&body[at], now->setting.gain_milli[c], 4U);
    }
    at += put_text(&body[at], DEVICE_NAME);
    at += put_text(&body[at], DEVICE_VERSION);
    at += put_text(&body[at], about->hardware);
    (void)put_frame(body, at, 0U);
    info_us = hal_clock_us();
}

void wire_tick(uint32_t now_us)
{
    if ((now_us - info_us) >= INFO_PERIOD_US) {
        wire_info();
    }
}

static bool set_gain(const uint8_t *arguments)
{
    source_setting wanted = device_state()->setting;
    const uint32_t chosen = arguments[0];
    const uint32_t gain = get_number(&arguments[1], 4U);
    for (uint32_t c = 0U; c < CHANNELS; c++) {
        if ((chosen == c) || (chosen == ALL_CHANNELS)) {
            wanted.gain_milli[c] = gain;
        }
    }
    return ((chosen < CHANNELS) || (chosen == ALL_CHANNELS)) && device_configure(&wanted);
}

static uint8_t carry_out(uint32_t order, const uint8_t *arguments, uint32_t count)
{
    static const uint8_t lengths[ORDERS] = {0U, 0U, 0U, 0U, 4U, 5U, 3U, 1U};
    source_setting wanted = device_state()->setting;
    uint8_t result = DONE;

    if ((order < START) || (order >= ORDERS)) {
        result = UNKNOWN;
    } else if (count != lengths[order]) {
        result = MALFORMED;
    } else {
        bool done = true;
        switch (order) {
        case START:
            done = device_start();
            break;
        case STOP:
            device_stop();
            break;
        case GET_INFO:
            wire_info();
            break;
        case SET_RATE:
            wanted.rate_mhz = get_number(arguments, 4U);
            done = device_configure(&wanted);
            break;
        case SET_GAIN:
            done = set_gain(arguments);
            break;
        case SET_LEAD_OFF:
            wanted.drive_on = (arguments[0] & 1U) != 0U;
            wanted.sense_p = arguments[1];
            wanted.sense_n = arguments[2];
            done = device_configure(&wanted);
            break;
        default: /* SET_MODE */
            done = device_set_mode(arguments[0]);
            break;
        }
        result = done ? DONE : IMPOSSIBLE;
    }
    return result;
}

void wire_receive(uint8_t byte)
{
    uint8_t body[FRAME_MOST_BLOCK];
    const uint32_t count = frame_take(&reader, byte, body);

    /* In the Cyton's language only the way back is understood. */
    const bool ours = (count >= COMMAND_HEAD) && ((body[0] & 0x0FU) == COMMAND) &&
                      ((device_state()->mode == DEVICE_WIRE) || (body[2] == SET_MODE));
    if (ours) {
        uint8_t answer[4U + FRAME_CRC_BYTES] = {ACKNOWLEDGE, body[1], body[2], OTHER_VERSION};
        if ((body[0] & 0xF0U) == VERSION) {
            answer[3] = carry_out(body[2], &body[COMMAND_HEAD], count - COMMAND_HEAD);
        }
        (void)put_frame(answer, 4U, 0U);
    }
}
