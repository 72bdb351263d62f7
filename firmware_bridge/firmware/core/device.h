/* The device: what it is set to, what it streams, and the ring that everything leaves through.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef DEVICE_H
#define DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "source.h"

#define DEVICE_NAME "myosem-frontend"
#define DEVICE_VERSION "0.1.0"

/* At 1000 Hz and eight channels, ten samples a frame, 26 kB a second: 1.25 s. One sample a frame: 0.73 s. */
#define DEVICE_RING_BYTES 32768U
/* Data leave so much of the ring to answers, so that a full one cannot keep a stop from being acknowledged. */
#define DEVICE_SPARE_BYTES 512U

#define DEVICE_WIRE 0U  /* modes: the wire protocol, */
#define DEVICE_CYTON 1U /* and OpenBCI Cyton's */

typedef struct {
    source_setting setting;
    uint8_t epoch; /* rises with every change of the setting */
    uint8_t mode;
    bool there; /* the converter was found */
    bool streaming;
    uint32_t number;   /* samples that were due since the start */
    uint16_t overflow; /* of these, left out */
} device;

void device_begin(void);

/* Everything once: listen, sample, send. To be called as often as possible. */
void device_step(void);

const device *device_state(void);

/* False: there is no converter. While it streams nothing changes. */
bool device_start(void);
void device_stop(void);

/* Another setting; false: it cannot be, and nothing has changed. */
bool device_configure(const source_setting *wanted);

/* Another language, with that language's default setting; ends streaming. False: it is not spoken here. */
bool device_set_mode(uint8_t mode);

/* All of these bytes to the host, or none where the ring then had less than `spare` bytes left. */
bool device_put(const uint8_t *bytes, uint32_t count, uint32_t spare);

/* So many samples were due and do not leave. */
void device_left_out(uint32_t count);

#endif
