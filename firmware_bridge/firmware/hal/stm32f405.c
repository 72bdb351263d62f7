/* STM32F405 without a vendor's library. Registers: ST's reference manual RM0090. Runs under QEMU as netduinoplus2.
 * NOT YET RUN ON HARDWARE.
 *
 * 168 MHz from the internal oscillator, so that no crystal has to be known. Pins:
 *   PA9 to the host's RX, PA10 from its TX (USART1)
 *   PA5 SCLK, PA6 DOUT, PA7 DIN (SPI1, mode 1), PB0 CS, PB1 DRDY, PB10 RESET of an ADS129x
 *   or PA0 to PA7 to eight amplifiers (ADC1)
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stddef.h>

#include "../core/ring.h"
#include "common.h"
#include "cortex_m.h"
#include "hal.h"

#define PROCESSOR_MHZ 168U
#define APB2_HZ 84000000U
#define TIMER_MHZ 84U
#define QEMU_TIMER_MHZ 1000U /* what QEMU counts with, whatever the clock tree says */

#define RCC_CR REGISTER(0x40023800U)
#define RCC_PLLCFGR REGISTER(0x40023804U)
#define RCC_CFGR REGISTER(0x40023808U)
#define RCC_AHB1ENR REGISTER(0x40023830U)
#define RCC_APB1ENR REGISTER(0x40023840U)
#define RCC_APB2ENR REGISTER(0x40023844U)
#define HSI_ON 0x00000001U
#define PLL_ON 0x01000000U
#define PLL_READY 0x02000000U
#define PLL_168_MHZ (16U | (336U << 6U) | (7U << 24U)) /* 16 MHz / 16 x 336 / 2; from the internal oscillator */
#define BUSES 0x00009400U                             /* APB1 a quarter, APB2 a half */
#define FROM_PLL 2U
#define SWITCHED_MASK 0x0CU
#define SWITCHED_TO_PLL 0x08U
#define GPIO_A_B_ON 3U
#define TIM2_ON 1U
#define APB2_ON 0x00005110U /* USART1, ADC1, SPI1, SYSCFG */
#define PATIENCE 1000000U   /* turns of a loop that waits for the clock */

#define FLASH_ACR REGISTER(0x40023C00U)
#define FLASH_168_MHZ 0x705U /* five wait states, caches and prefetch */

#define GPIOA 0x40020000U
#define GPIOB 0x40020400U
#define MODE(port) REGISTER((port) + 0x00U)
#define SPEED(port) REGISTER((port) + 0x08U)
#define PULL(port) REGISTER((port) + 0x0CU)
#define SET_RESET(port) REGISTER((port) + 0x18U)
#define FUNCTION_LOW(port) REGISTER((port) + 0x20U)
#define FUNCTION_HIGH(port) REGISTER((port) + 0x24U)
#define CHIP_SELECT 0U /* of port B */
#define DRDY 1U
#define ADS_RESET 10U

#define TIM2_CR1 REGISTER(0x40000000U)
#define TIM2_EGR REGISTER(0x40000014U)
#define TIM2_CNT REGISTER(0x40000024U)
#define TIM2_PSC REGISTER(0x40000028U)
#define TIM2_ARR REGISTER(0x4000002CU)

#define USART_SR REGISTER(0x40011000U)
#define USART_DR REGISTER(0x40011004U)
#define USART_BRR REGISTER(0x40011008U)
#define USART_CR1 REGISTER(0x4001100CU)
#define USART_RECEIVED 0x20U
#define USART_SENT 0x40U
#define USART_EMPTY 0x80U
#define USART_ON 0x202CU /* sending, receiving, interrupt when something came */
#define USART_EMPTY_INTERRUPT 0x80U
#define USART_INTERRUPT 37U

#define SPI_CR1 REGISTER(0x40013000U)
#define SPI_SR REGISTER(0x40013008U)
#define SPI_DR REGISTER(0x4001300CU)
#define SPI_RECEIVED 1U
#define SPI_EMPTY 2U
#define SPI_ON 0x365U        /* master, mode 1, 84 MHz / 32: three microseconds a byte, the chip needs two */
#define SPI_PATIENCE 100000U /* turns of a loop that waits for one byte */

#define SYSCFG_EXTICR1 REGISTER(0x40013808U)
#define EXTI_IMR REGISTER(0x40013C00U)
#define EXTI_FTSR REGISTER(0x40013C0CU)
#define EXTI_PR REGISTER(0x40013C14U)
#define DRDY_INTERRUPT 7U

#define ADC_SR REGISTER(0x40012000U)
#define ADC_CR2 REGISTER(0x40012008U)
#define ADC_SMPR2 REGISTER(0x40012010U)
#define ADC_SQR3 REGISTER(0x40012034U)
#define ADC_DR REGISTER(0x4001204CU)
#define ADC_COMMON REGISTER(0x40012304U)
#define ADC_QUARTER_CLOCK 0x10000U
#define ADC_28_CYCLES 0x00492492U
#define ADC_ON 1U
#define ADC_GO 0x40000000U
#define ADC_DONE 2U

#define SENDING_BYTES 1024U /* 22 ms at 460800 baud; the main loop looks once a millisecond */

const char hal_board[] = "STM32F405";

static void usart(void);
static void data_ready(void);

typedef struct {
    cortex_m_vectors system;
    handler interrupts[82];
} vectors;

__attribute__((section(".vectors"), used)) static const vectors table = {
    VECTORS, {[DRDY_INTERRUPT] = data_ready, [USART_INTERRUPT] = usart}};

static ring sending;
static uint8_t sending_bytes[SENDING_BYTES];
static _Atomic uint32_t conversions;

/* As much as the port takes: one byte on hardware, everything under QEMU, where the interrupt for it is not played. */
static void pump(void)
{
    uint8_t byte = 0U;
    while (((USART_SR & USART_EMPTY) != 0U) && ring_take(&sending, &byte)) {
        USART_DR = byte;
    }
    if (ring_used(&sending) > 0U) {
        USART_CR1 |= USART_EMPTY_INTERRUPT;
    } else {
        USART_CR1 &= ~USART_EMPTY_INTERRUPT;
    }
}

static void usart(void)
{
    if ((USART_SR & USART_RECEIVED) != 0U) {
        common_received((uint8_t)USART_DR);
    }
    pump();
}

static void data_ready(void)
{
    EXTI_PR = 1U << DRDY;
    atomic_fetch_add_explicit(&conversions, 1U, memory_order_release);
}

/* True: this is silicon, which after reset runs from HSI and says so; QEMU has no clock tree and reads 0. */
static bool start_clock(void)
{
    const bool silicon = (RCC_CR & HSI_ON) != 0U;
    FLASH_ACR = FLASH_168_MHZ;
    RCC_PLLCFGR = PLL_168_MHZ;
    RCC_CR |= PLL_ON;
    for (uint32_t i = 0U; silicon && (i < PATIENCE) && ((RCC_CR & PLL_READY) == 0U); i++) {
    }
    RCC_CFGR = BUSES;
    RCC_CFGR = BUSES | FROM_PLL;
    for (uint32_t i = 0U; silicon && (i < PATIENCE) && ((RCC_CFGR & SWITCHED_MASK) != SWITCHED_TO_PLL); i++) {
    }
    return silicon;
}

static void start_pins(void)
{
    RCC_AHB1ENR |= GPIO_A_B_ON;
    FUNCTION_HIGH(GPIOA) = (7U << 4U) | (7U << 8U); /* PA9, PA10: USART1 */
    PULL(GPIOA) = 0x64100000U;                      /* as after reset, and PA10 up: an open line is idle */
#ifdef SOURCE_ADC
    MODE(GPIOA) = 0xA828FFFFU; /* PA0 to PA7 analog */
#else
    FUNCTION_LOW(GPIOA) = (5U << 20U) | (5U << 24U) | (5U << 28U); /* PA5 to PA7: SPI1 */
    MODE(GPIOA) = 0xA828A800U;
    SPEED(GPIOA) = 0x0C00A800U;
    SET_RESET(GPIOB) = (1U << CHIP_SELECT) | (1U << ADS_RESET);
    MODE(GPIOB) = 0x00100281U; /* PB0 and PB10 out, PB3 and PB4 as after reset */
    SYSCFG_EXTICR1 = 1U << 4U; /* line 1 is PB1 */
    EXTI_FTSR = 1U << DRDY;
    EXTI_IMR = 1U << DRDY;
    SPI_CR1 = SPI_ON;
    cortex_m_enable_interrupt(DRDY_INTERRUPT);
#endif
}

void hal_init(void)
{
    common_begin();
    ring_init(&sending, sending_bytes, SENDING_BYTES);
    const bool silicon = start_clock();
    RCC_APB1ENR |= TIM2_ON;
    RCC_APB2ENR |= APB2_ON;
    start_pins();
    TIM2_PSC = (silicon ? TIMER_MHZ : QEMU_TIMER_MHZ) - 1U;
    TIM2_ARR = 0xFFFFFFFFU;
    TIM2_EGR = 1U;
    TIM2_CR1 = 1U;
    ADC_COMMON = ADC_QUARTER_CLOCK;
    ADC_SMPR2 = ADC_28_CYCLES;
    ADC_CR2 = ADC_ON;
    cortex_m_start_tick(PROCESSOR_MHZ * 1000U);
    cortex_m_enable_interrupt(USART_INTERRUPT);
}

uint32_t hal_clock_us(void)
{
    return TIM2_CNT;
}

uint32_t hal_uart_send(const uint8_t *bytes, uint32_t count)
{
    const uint32_t room = ring_room(&sending);
    const uint32_t taken = (count < room) ? count : room;
    (void)ring_put(&sending, bytes, taken);
    cortex_m_disable_interrupt(USART_INTERRUPT);
    pump();
    cortex_m_enable_interrupt(USART_INTERRUPT);
    return taken;
}

bool hal_uart_idle(void)
{
    return (ring_used(&sending) == 0U) && ((USART_SR & USART_SENT) != 0U);
}

void hal_uart_set_baud(uint32_t baud)
{
    USART_BRR = (APB2_HZ + (baud / 2U)) / baud;
    USART_CR1 = USART_ON;
}

void hal_ads_reset(void)
{
    SET_RESET(GPIOB) = 1U << (ADS_RESET + 16U);
    hal_delay_us(10U);
    SET_RESET(GPIOB) = 1U << ADS_RESET;
    hal_delay_us(20U);
}

void hal_ads_transfer(const uint8_t *out, uint8_t *in, uint32_t count)
{
    SET_RESET(GPIOB) = 1U << (CHIP_SELECT + 16U);
    for (uint32_t i = 0U; i < count; i++) {
        for (uint32_t turn = 0U; (turn < SPI_PATIENCE) && ((SPI_SR & SPI_EMPTY) == 0U); turn++) {
        }
        SPI_DR = out[i];
        for (uint32_t turn = 0U; (turn < SPI_PATIENCE) && ((SPI_SR & SPI_RECEIVED) == 0U); turn++) {
        }
        const uint8_t byte = (uint8_t)SPI_DR;
        if (in != NULL) {
            in[i] = byte;
        }
    }
    hal_delay_us(2U); /* four clocks of the chip before it is let go */
    SET_RESET(GPIOB) = 1U << CHIP_SELECT;
    hal_delay_us(1U);
}

uint32_t hal_ads_conversions(void)
{
    return atomic_load_explicit(&conversions, memory_order_acquire);
}

uint16_t hal_adc_read(uint32_t channel)
{
    ADC_SQR3 = channel;
    ADC_SR = 0U;
    ADC_CR2 = ADC_ON | ADC_GO;
    for (uint32_t turn = 0U; (turn < SPI_PATIENCE) && ((ADC_SR & ADC_DONE) == 0U); turn++) {
    }
    return (uint16_t)(ADC_DR & 0x0FFFU);
}
