/* Sources of the byte-level facts: the board's published firmware, and BrainFlow's host driver.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cyton.h"

#include <string.h>

#include "device.h"

#define BOARD_CHANNELS 8U
#define FRAME_BYTES 33U
#define RATE_MHZ 250000U
#define GAIN_MILLI 24000U
#define VREF_UV 4500000U
#define BITS 24U
#define LONGEST 9U           /* characters of a command */
#define LONGEST_US 1000000U  /* for all of them */
#define GAINS 7U

static const uint8_t gains[GAINS] = {1U, 2U, 4U, 6U, 8U, 12U, 24U};

static char command[LONGEST];
static uint32_t used;
static uint32_t begun_us;
static uint8_t counter;
static uint8_t on; /* one bit per channel */

bool cyton_fits(void)
{
    const source_facts *const about = source_about();
    source_setting wanted = device_state()->setting;
    cyton_default(&wanted);
    return (about->bits == BITS) && (about->vref_uv == VREF_UV) && source_can(&wanted);
}

void cyton_default(source_setting *setting)
{
    setting->rate_mhz = RATE_MHZ;
    setting->drive_on = false;
    setting->sense_p = 0U;
    setting->sense_n = 0U;
    for (uint32_t c = 0U; c < CHANNELS; c++) {
        setting->gain_milli[c] = GAIN_MILLI;
    }
}

void cyton_begin(void)
{
    used = 0U;
    counter = 0U;
    on = 0xFFU;
}

/* No text while samples flow. */
static void say(const char *text)
{
    if (!device_state()->streaming) {
        (void)device_put((const uint8_t *)text, (uint32_t)strlen(text), 0U);
        (void)device_put((const uint8_t *)"$$$", 3U, 0U);
    }
}

static void reset_settings(void)
{
    source_setting setting = device_state()->setting;
    cyton_default(&setting);
    (void)device_configure(&setting);
    on = 0xFFU;
}

/* `x`: channel, power-down, gain code, input, bias, SRB2, SRB1, latch. Inputs are always the electrodes here. */
static void set_channel(void)
{
    const uint32_t channel = (uint32_t)(uint8_t)command[1] - (uint32_t)'1';
    const uint32_t code = (uint32_t)(uint8_t)command[3] - (uint32_t)'0';
    const bool off = command[2] == '1';
    bool done = (channel < CHANNELS) && (code < GAINS) && (off || (command[2] == '0')) && (command[8] == 'X');
    if (done) {
        source_setting setting = device_state()->setting;
        setting.gain_milli[channel] = gains[code] * 1000U;
        done = device_configure(&setting);
    }
    if (done) {
        char text[] = "Success: Channel set for N";
        text[sizeof(text) - 2U] = command[1];
        on = (uint8_t)(off ? (on & ~(1U << channel)) : (on | (1U << channel)));
        say(text);
    } else {
        say("Failure: Channel set, wrong characters");
    }
}

static void set_mode(void)
{
    static const char *const texts[6] = {"Success: default", "Success: debug",  "Success: analog",
                                         "Success: digital", "Success: marker", "Success: BLE"};
    const uint32_t mode = (uint32_t)(uint8_t)command[1] - (uint32_t)'0';
    say((mode < 6U) ? texts[mode] : texts[0]);
}

/* Characters of a command that begins with this one. */
static uint32_t length_of(char kind)
{
    uint32_t length = 1U;
    if (kind == 'x') {
        length = LONGEST;
    } else if (kind == 'z') {
        length = 5U;
    } else if ((kind == '~') || (kind == '/') || (kind == '`')) {
        length = 2U;
    } else {
        /* one */
    }
    return length;
}

/* Channel switches: 1 to 8 are off, the same keys with shift are on. */
static bool take_switch(char kind)
{
    static const char off_keys[] = "12345678";
    static const char on_keys[] = "!@#$%^&*";
    bool found = false;
    for (uint32_t c = 0U; c < BOARD_CHANNELS; c++) {
        if (kind == off_keys[c]) {
            on &= (uint8_t)~(1U << c);
            found = true;
        } else if (kind == on_keys[c]) {
            on |= (uint8_t)(1U << c);
            found = true;
        } else {
            /* another one's */
        }
    }
    return found;
}

static void carry_out(void)
{
    switch (command[0]) {
    case 'b':
        (void)device_start();
        break;
    case 's':
        device_stop();
        break;
    case 'v':
        device_stop();
        reset_settings();
        say("OpenBCI V3 8-16 channel\r\nOn Board ADS1299 Device ID: 0x3E\r\nLIS3DH Device ID: 0x33\r\n"
            "Firmware: v3.1.2\r\n");
        break;
    case 'd':
        reset_settings();
        say("updating channel settings to default");
        break;
    case 'D':
        say("060110");
        break;
    case 'V':
        say("v3.1.2");
        break;
    case 'c':
    case 'C':
        say("8");
        break;
    case 'x':
        set_channel();
        break;
    case 'z':
        say("Failure: lead-off is not set in this mode");
        break;
    case '~':
        say(((command[1] == '6') || (command[1] == '~')) ? "Success: Sample rate is 250Hz" : "Failure: 250Hz alone");
        break;
    case '/':
        set_mode();
        break;
    case '<':
        say("Time stamp OFF");
        break;
    case '>':
        say("Time stamp OFF");
        break;
    default:
        (void)take_switch(command[0]);
        break;
    }
}

void cyton_receive(uint8_t byte, uint32_t now_us)
{
    if (used == 0U) {
        begun_us = now_us;
    }
    command[used] = (char)byte;
    used++;
    if (used >= length_of(command[0])) {
        used = 0U;
        carry_out();
    }
}

void cyton_tick(uint32_t now_us)
{
    if ((used > 0U) && ((now_us - begun_us) > LONGEST_US)) {
        used = 0U;
        say("Timeout processing multi byte message - please send all commands at once as of v2");
    }
}

void cyton_sample(const source_sample *sample)
{
    uint8_t frame[FRAME_BYTES] = {0xA0U, counter};
    for (uint32_t c = 0U; c < CHANNELS; c++) {
        const uint32_t count = ((on & (1U << c)) != 0U) ? (uint32_t)sample->counts[c] : 0U;
        uint8_t *const place = &frame[2U + (3U * c)];
        place[0] = (uint8_t)((count >> 16U) & 0xFFU);
        place[1] = (uint8_t)((count >> 8U) & 0xFFU);
        place[2] = (uint8_t)(count & 0xFFU);
    }
    frame[FRAME_BYTES - 1U] = 0xC0U;
    counter++;
    if (!device_put(frame, FRAME_BYTES, DEVICE_SPARE_BYTES)) {
        device_left_out(1U);
    }
}
