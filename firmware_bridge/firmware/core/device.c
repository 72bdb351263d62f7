/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

#include "../hal/hal.h"
#include "cyton.h"
#include "ring.h"
#include "wire.h"

#define WIRE_BAUD 460800U
#define MOST_RECEIVED 64U /* bytes in one step */
#define MOST_SAMPLES 64U  /* in one step, so that commands are heard while it makes up for a pause */

static device self;
static ring outgoing;
static uint8_t outgoing_bytes[DEVICE_RING_BYTES];
static uint32_t baud;        /* in use */
static uint32_t baud_wanted; /* once everything said before has left */

static void defaults(void)
{
    source_default(&self.setting);
    if (self.mode == DEVICE_CYTON) {
        cyton_default(&self.setting);
    }
}

void device_begin(void)
{
    ring_init(&outgoing, outgoing_bytes, DEVICE_RING_BYTES);
    self = (device){.mode = DEVICE_WIRE};
    self.there = source_begin();
    defaults();
    wire_begin();
    cyton_begin();
    baud = WIRE_BAUD;
    baud_wanted = WIRE_BAUD;
    hal_uart_set_baud(baud);
}

const device *device_state(void)
{
    return &self;
}

bool device_start(void)
{
    if (self.there && !self.streaming) {
        self.number = 0U;
        self.overflow = 0U;
        wire_drop();
        source_start(&self.setting, hal_clock_us());
        self.streaming = true;
    }
    return self.there;
}

void device_stop(void)
{
    if (self.streaming) {
        source_stop();
        self.streaming = false;
        wire_flush();
    }
}

/* What is due, up to `most` samples. */
static void sample(uint32_t most)
{
    const uint32_t due = source_due(hal_clock_us());
    for (uint32_t i = 0U; (i < most) && (self.number != due); i++) {
        source_sample taken;
        if (!source_take(self.number, &taken)) {
            wire_flush();
            device_left_out(1U);
        } else if (self.mode == DEVICE_CYTON) {
            cyton_sample(&taken);
        } else {
            wire_sample(&taken, self.number);
        }
        self.number++;
    }
}

bool device_configure(const source_setting *wanted)
{
    const bool can = source_can(wanted);
    if (can) {
        if (self.streaming) {
            sample(MOST_SAMPLES); /* as they were measured */
        }
        wire_flush();
        self.setting = *wanted;
        if (self.there) {
            source_apply(&self.setting, hal_clock_us());
        }
        self.epoch++;
        if (self.mode == DEVICE_WIRE) {
            wire_info();
        }
    }
    return can;
}

bool device_set_mode(uint8_t mode)
{
    const bool spoken = (mode == DEVICE_WIRE) || ((mode == DEVICE_CYTON) && cyton_fits());
    if (spoken) {
        device_stop();
        self.mode = mode;
        defaults();
        self.epoch++;
        cyton_begin();
        baud_wanted = (mode == DEVICE_CYTON) ? CYTON_BAUD : WIRE_BAUD;
        if (mode == DEVICE_WIRE) {
            wire_info();
        }
    }
    return spoken;
}

bool device_put(const uint8_t *bytes, uint32_t count, uint32_t spare)
{
    return (ring_room(&outgoing) >= (count + spare)) && ring_put(&outgoing, bytes, count);
}

void device_left_out(uint32_t count)
{
    self.overflow = (uint16_t)(self.overflow + count);
}

static void listen(void)
{
    uint8_t bytes[MOST_RECEIVED];
    const uint32_t count = hal_uart_receive(bytes, MOST_RECEIVED);
    for (uint32_t i = 0U; i < count; i++) {
        if (self.mode == DEVICE_CYTON) {
            cyton_receive(bytes[i], hal_clock_us());
        }
        wire_receive(bytes[i]); /* in every mode: the way back is a command of this protocol */
    }
}

static void send(void)
{
    const uint8_t *bytes = outgoing_bytes;
    const uint32_t count = ring_front(&outgoing, &bytes);
    if (count > 0U) {
        ring_drop(&outgoing, hal_uart_send(bytes, count));
    } else if ((baud != baud_wanted) && hal_uart_idle()) {
        baud = baud_wanted;
        hal_uart_set_baud(baud);
    } else {
        /* nothing to say */
    }
}

void device_step(void)
{
    listen();
    if (self.streaming) {
        sample(MOST_SAMPLES);
        if (self.mode == DEVICE_WIRE) {
            wire_tick(hal_clock_us());
        }
    } else if (self.mode == DEVICE_CYTON) {
        cyton_tick(hal_clock_us());
    } else {
        /* silent until it is told something */
    }
    send();
}
