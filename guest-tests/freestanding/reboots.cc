// SPDX-License-Identifier: Apache-2.0
// Resets the machine in the midst of traffic, in the way that the last frame of the test's own Ethernet type
// names, after it has seen echo= of them and sent them back. At that time its receive buffers are posted,
// frames that it sends are on their way, and the second CPU writes to memory and ports. After each reset it
// looks for traces of the machine before.
#include "guest-tests/freestanding/reset.h"
#include "guest-tests/freestanding/runtime.h"
#include "guest-tests/freestanding/second_cpu.h"
#include "guest-tests/freestanding/virtio_net_driver.h"
#include "guest-tests/freestanding/virtio_net_uapi.h"

namespace guest {
namespace {

constexpr std::uintptr_t kBuffers = 0x210'0000;
constexpr std::uintptr_t kBufferBytes = 2048;
constexpr std::uintptr_t kDriverMemory = VirtioNetDriver::kRings;
constexpr std::uintptr_t kDriverMemoryEnd = kBuffers + kBufferBytes * PolledQueue::kQueueSize;
constexpr std::uint32_t kHeaderBytes = sizeof(virtio_net_hdr_v1);
constexpr std::uintptr_t kEtherType = kHeaderBytes + 12;
constexpr std::uintptr_t kWay = kHeaderBytes + ETH_HLEN;
constexpr std::uint16_t kOurEtherType = 0xB588;  // 0x88B5 in network order
constexpr std::uint8_t kBySecondCpu = 4;         // the ways before it are those of ResetWay

std::uintptr_t buffer(std::uint16_t head) {
  return kBuffers + kBufferBytes * head;
}

/// Whether rings and buffers are as when the machine was switched on. A frame that reached the machine before
/// after its memory was cleared would lie there.
bool driver_memory_is_zero() {
  // One instruction, because some hosts emulate each.
  std::uint64_t words = (kDriverMemoryEnd - kDriverMemory) / 8;
  std::uintptr_t at = kDriverMemory;
  bool zero = false;
  asm volatile("repe scasq" : "+c"(words), "+D"(at), "=@ccz"(zero) : "a"(0) : "memory");
  return zero;
}

/// Sends back frames until there were `frames` of ours; returns the way that the last one names.
std::uint8_t echo(VirtioNetDriver& driver, std::uint64_t frames) {
  std::uint16_t head = 0;
  std::uint32_t bytes = 0;
  std::uint8_t way = 0;
  while (frames != 0) {
    while (frames != 0 && driver.receive().take_used(head, bytes)) {
      const std::uintptr_t at = buffer(head);
      if (*reinterpret_cast<const std::uint16_t*>(at + kEtherType) == kOurEtherType) {
        way = *reinterpret_cast<const std::uint8_t*>(at + kWay);
        --frames;
      }
      reinterpret_cast<virtio_net_hdr_v1*>(at)->num_buffers = 0;
      driver.transmit().add(head, at, bytes, false);
    }
    driver.kick(1);
    bool posted = false;
    while (frames != 0 && driver.transmit().take_used(head, bytes)) {
      driver.receive().add(head, buffer(head), kBufferBytes, true);
      posted = true;
    }
    if (posted) {
      driver.kick(0);
    }
  }
  return way;
}

}  // namespace

void run_guest() {
  plan(5);
  check("the second CPU of the machine before is gone", SecondCpu::untouched());
  check("no frame of the machine before arrives", driver_memory_is_zero());
  check("the second CPU starts", SecondCpu::start());
  const bool on_mmio = parameter_is("transport", "mmio");
  VirtioNetDriver driver =
      on_mmio ? VirtioNetDriver(parameter("mmio", 0)) : VirtioNetDriver(find_virtio_net_pci());
  check("device accepts the driver", driver.start());
  for (std::uint16_t head = 0; head < PolledQueue::kQueueSize; ++head) {
    driver.receive().add(head, buffer(head), kBufferBytes, true);
  }
  driver.kick(0);
  const std::uint8_t way = echo(driver, parameter("echo", 1));
  check("frames name a way to reset", way <= kBySecondCpu);
  info("way", way);
  end_protocol();
  if (way == kBySecondCpu) {
    SecondCpu::order_reset();
  } else {
    reset_machine(ResetWay{way});
  }
  halt();
}

}  // namespace guest
