/* SPDX-License-Identifier: Apache-2.0 */
#include "frame.h"

#define CRC_START 0xFFFFU
#define LONGEST_RUN 0xFFU /* a COBS code that no zero follows */

uint16_t frame_crc(const uint8_t *bytes, uint32_t count)
{
    /* Four bits at a time: sixteen words of flash, and a frame in some 3000 cycles. */
    static const uint16_t table[16] = {0x0000U, 0x1021U, 0x2042U, 0x3063U, 0x4084U, 0x50A5U, 0x60C6U, 0x70E7U,
                                       0x8108U, 0x9129U, 0xA14AU, 0xB16BU, 0xC18CU, 0xD1ADU, 0xE1CEU, 0xF1EFU};
    uint32_t crc = CRC_START;
    for (uint32_t i = 0U; i < count; i++) {
        const uint32_t byte = bytes[i];
        crc = ((crc << 4U) ^ table[((crc >> 12U) ^ (byte >> 4U)) & 15U]) & 0xFFFFU;
        crc = ((crc << 4U) ^ table[((crc >> 12U) ^ byte) & 15U]) & 0xFFFFU;
    }
    return (uint16_t)crc;
}

uint32_t frame_encode(uint8_t *body, uint32_t count, uint8_t *out)
{
    const uint16_t crc = frame_crc(body, count);
    const uint32_t total = count + FRAME_CRC_BYTES;
    uint32_t code_at = 1U;
    uint32_t at = 2U;
    uint8_t code = 1U;

    body[count] = (uint8_t)(crc & 0xFFU);
    body[count + 1U] = (uint8_t)(crc >> 8U);
    out[0] = 0U;
    for (uint32_t i = 0U; i < total; i++) {
        if (body[i] != 0U) {
            out[at] = body[i];
            at++;
            code++;
        }
        /* A full run needs no code behind it where the data end with it. */
        if ((body[i] == 0U) || ((code == LONGEST_RUN) && ((i + 1U) < total))) {
            out[code_at] = code;
            code_at = at;
            at++;
            code = 1U;
        }
    }
    out[code_at] = code;
    out[at] = 0U;
    return at + 1U;
}

void frame_reader_init(frame_reader *reader)
{
    reader->used = 0U;
    reader->hopeless = false;
}

/* Length of what the block decodes to, in `out`; 0: it is no COBS. */
static uint32_t decode(const uint8_t *block, uint32_t count, uint8_t *out)
{
    uint32_t at = 0U;
    uint32_t made = 0U;
    bool right = true;

    while (right && (at < count)) {
        const uint32_t code = block[at];
        right = (at + code) <= count;
        for (uint32_t i = 1U; right && (i < code); i++) {
            out[made] = block[at + i];
            made++;
        }
        at += code;
        if (right && (at < count) && (code != LONGEST_RUN)) {
            out[made] = 0U;
            made++;
        }
    }
    return right ? made : 0U;
}

uint32_t frame_take(frame_reader *reader, uint8_t byte, uint8_t *body)
{
    uint32_t length = 0U;

    if (byte != 0U) {
        if (reader->used < FRAME_MOST_BLOCK) {
            reader->block[reader->used] = byte;
            reader->used++;
        } else {
            reader->hopeless = true;
        }
    } else {
        const uint32_t made = reader->hopeless ? 0U : decode(reader->block, reader->used, body);
        if (made > FRAME_CRC_BYTES) {
            const uint32_t count = made - FRAME_CRC_BYTES;
            const uint32_t sent = (uint32_t)body[count] | ((uint32_t)body[count + 1U] << 8U);
            length = (frame_crc(body, count) == sent) ? count : 0U;
        }
        frame_reader_init(reader);
    }
    return length;
}
