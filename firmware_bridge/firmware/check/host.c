/* The firmware on this computer, moved by the lines of a test: one line in, one line out.
 *
 *   chip ID           power up, with a simulated converter of that ID          -> ok
 *   at US             the clock is there now, and everything runs once         -> ok
 *   rx HEX            the host sends these bytes, and everything runs once     -> ok
 *   room N            the port takes so many bytes more, then none; -1: all    -> ok
 *   tx                                                                         -> what was sent since, in hex
 *   baud                                                                       -> what the port is set to
 *   register N        of the simulated converter, in decimal                   -> its value
 *   slips N, late N, status N, analog N                                        -> ok
 *   resets                                                                     -> how often the converter was reset
 *   encode HEX, crc HEX, decode HEX                                            -> the frame, the sum, the bodies
 *   put HEX, drop N, used, front   a ring of 16 bytes                          -> 1 or 0, ok, bytes, bytes in hex
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/device.h"
#include "../core/frame.h"
#include "../core/ring.h"
#include "../hal/hal.h"
#include "chip.h"

#define LINE 200000U
#define BYTES (LINE / 2U)
#define RING 16U

const char hal_board[] = "this computer";

static char line[LINE];
static uint8_t given[BYTES];
static uint32_t given_count;
static uint8_t waiting[BYTES]; /* from the host */
static uint32_t waiting_count;
static uint8_t sent[BYTES];
static uint32_t sent_count;
static long room = -1;
static uint32_t clock_us;
static uint32_t baud;
static uint16_t analog;

void hal_init(void)
{
}

uint32_t hal_clock_us(void)
{
    return clock_us;
}

void hal_delay_us(uint32_t us)
{
    clock_us += us;
    chip_run(clock_us);
}

void hal_wait(void)
{
}

uint32_t hal_uart_receive(uint8_t *bytes, uint32_t most)
{
    const uint32_t count = (waiting_count < most) ? waiting_count : most;
    (void)memcpy(bytes, waiting, count);
    (void)memmove(waiting, &waiting[count], waiting_count - count);
    waiting_count -= count;
    return count;
}

uint32_t hal_uart_send(const uint8_t *bytes, uint32_t count)
{
    uint32_t taken = ((room >= 0) && ((long)count > room)) ? (uint32_t)room : count;
    taken = (taken > (BYTES - sent_count)) ? (BYTES - sent_count) : taken;
    (void)memcpy(&sent[sent_count], bytes, taken);
    sent_count += taken;
    room -= (room >= 0) ? (long)taken : 0;
    return taken;
}

bool hal_uart_idle(void)
{
    return true;
}

void hal_uart_set_baud(uint32_t wanted)
{
    baud = wanted;
}

uint16_t hal_adc_read(uint32_t channel)
{
    return (uint16_t)((analog + channel) & 0xFFFU);
}

static void run(void)
{
    chip_run(clock_us);
    for (uint32_t i = 0U; (i < 8U) || (waiting_count > 0U); i++) {
        device_step();
    }
}

static void put_hex(const uint8_t *bytes, uint32_t count)
{
    for (uint32_t i = 0U; i < count; i++) {
        (void)printf("%02x", (unsigned)bytes[i]);
    }
}

static void read_hex(const char *text)
{
    unsigned byte = 0U;
    given_count = 0U;
    while ((given_count < BYTES) && (sscanf(&text[2U * given_count], "%2x", &byte) == 1)) {
        given[given_count] = (uint8_t)byte;
        given_count++;
        if ((text[(2U * given_count) - 1U] == '\0') || (text[2U * given_count] == '\0')) {
            break;
        }
    }
}

static void frames(const char *what)
{
    static frame_reader reader;
    uint8_t body[FRAME_MOST_BLOCK];
    uint8_t out[FRAME_MOST_WIRE];

    if (strcmp(what, "crc") == 0) {
        (void)printf("%04x", (unsigned)frame_crc(given, given_count));
    } else if (strcmp(what, "encode") == 0) {
        put_hex(out, frame_encode(given, given_count, out));
    } else {
        frame_reader_init(&reader);
        for (uint32_t i = 0U; i < given_count; i++) {
            const uint32_t length = frame_take(&reader, given[i], body);
            if (length > 0U) {
                put_hex(body, length);
                (void)putchar(' ');
            }
        }
    }
}

static void rings(const char *what, long number)
{
    static ring tried;
    static uint8_t bytes[RING];
    const uint8_t *front = NULL;

    if (tried.size == 0U) {
        ring_init(&tried, bytes, RING);
        atomic_store(&tried.put, 0xFFFFFFF8U); /* soon round */
        atomic_store(&tried.got, 0xFFFFFFF8U);
    }
    if (strcmp(what, "put") == 0) {
        (void)printf("%d", ring_put(&tried, given, given_count) ? 1 : 0);
    } else if (strcmp(what, "drop") == 0) {
        ring_drop(&tried, (uint32_t)number);
        (void)printf("ok");
    } else if (strcmp(what, "used") == 0) {
        (void)printf("%u", (unsigned)ring_used(&tried));
    } else {
        const uint32_t count = ring_front(&tried, &front);
        put_hex(front, count);
    }
}

static void obey(const char *what, const char *rest)
{
    const long number = strtol(rest, NULL, 0);

    if (strcmp(what, "chip") == 0) {
        clock_us = 0U;
        chip_power_up((uint8_t)number);
        device_begin();
    } else if (strcmp(what, "at") == 0) {
        clock_us = (uint32_t)strtoul(rest, NULL, 10);
        run();
    } else if (strcmp(what, "rx") == 0) {
        (void)memcpy(waiting, given, given_count);
        waiting_count = given_count;
        run();
    } else if (strcmp(what, "room") == 0) {
        room = number;
        run();
    } else if (strcmp(what, "tx") == 0) {
        put_hex(sent, sent_count);
        sent_count = 0U;
    } else if (strcmp(what, "baud") == 0) {
        (void)printf("%u", (unsigned)baud);
    } else if (strcmp(what, "register") == 0) {
        (void)printf("%u", (unsigned)chip_registers[number]);
    } else if (strcmp(what, "resets") == 0) {
        (void)printf("%u", (unsigned)chip_resets);
    } else if (strcmp(what, "slips") == 0) {
        chip_slips = (uint32_t)number;
    } else if (strcmp(what, "late") == 0) {
        chip_late = (uint32_t)number;
    } else if (strcmp(what, "status") == 0) {
        chip_status = (uint32_t)number;
    } else if (strcmp(what, "analog") == 0) {
        analog = (uint16_t)number;
    } else if ((strcmp(what, "crc") == 0) || (strcmp(what, "encode") == 0) || (strcmp(what, "decode") == 0)) {
        frames(what);
    } else {
        rings(what, number);
    }
}

int main(void)
{
    chip_power_up(0x3EU);
    device_begin();
    while (fgets(line, (int)LINE, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *rest = strchr(line, ' ');
        if (rest != NULL) {
            *rest = '\0';
            rest++;
            read_hex(rest);
        } else {
            given_count = 0U;
        }
        obey(line, (rest != NULL) ? rest : "");
        (void)putchar('\n');
        (void)fflush(stdout);
    }
    return 0;
}
