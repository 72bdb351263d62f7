/* Frames of the wire protocol: 00, the COBS coding of a body and its CRC-16, 00.
 * COBS: Cheshire and Baker 1999. CRC-16/CCITT-FALSE: poly 1021, initial FFFF; "123456789" gives 29B1.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef FRAME_H
#define FRAME_H

#include <stdbool.h>
#include <stdint.h>

#define FRAME_CRC_BYTES 2U
#define FRAME_MOST_BODY 448U /* sent: sixteen samples of eight channels need 401 */
#define FRAME_MOST_WIRE (FRAME_MOST_BODY + FRAME_CRC_BYTES + 2U + 3U) /* COBS adds one byte in 254, and the two 00 */
#define FRAME_MOST_BLOCK 64U /* received: the longest command needs 10 */

/* What has come since the last 00. Its fields belong to this module. */
typedef struct {
    uint8_t block[FRAME_MOST_BLOCK];
    uint32_t used;
    bool hopeless; /* longer than any command */
} frame_reader;

uint16_t frame_crc(const uint8_t *bytes, uint32_t count);

/* `body` has room for its CRC behind `count` bytes, at most FRAME_MOST_BODY; `out` has FRAME_MOST_WIRE. Bytes written. */
uint32_t frame_encode(uint8_t *body, uint32_t count, uint8_t *out);

void frame_reader_init(frame_reader *reader);

/* Length of the body in `body` (FRAME_MOST_BLOCK bytes) that ends with this byte; 0: none does. */
uint32_t frame_take(frame_reader *reader, uint8_t byte, uint8_t *body);

#endif
