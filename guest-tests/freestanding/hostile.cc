// SPDX-License-Identifier: Apache-2.0
#include "guest-tests/freestanding/hostile.h"

#include "guest-tests/freestanding/runtime.h"
#include "guest-tests/freestanding/virtio_net_uapi.h"

namespace guest {
namespace {

/// Enough on the slowest host that emulates; a device answers in far fewer.
constexpr unsigned kPatience = 200'000;

constexpr std::uint32_t kFrameBytes = sizeof(virtio_net_hdr_v1) + 60;

VirtioPci find_device() {
  return parameter_is("transport", "mmio") ? VirtioPci{} : find_virtio_net_pci();
}

VirtioNetDriver make_driver(const VirtioPci& pci) {
  return pci.common == 0 ? VirtioNetDriver(parameter("mmio", 0)) : VirtioNetDriver(pci);
}

}  // namespace

Attacker::Attacker(std::uint64_t features)
    : features_(features),
      pci_(find_device()),
      registers_(pci_.common == 0 ? parameter("mmio", 0) : pci_.common),
      driver_(make_driver(pci_)) {}

void Attacker::add_head(PolledQueue& queue, std::uint16_t head) {
  queue.avail[2 + queue.avail_index % PolledQueue::kQueueSize] = head;
  asm volatile("" ::: "memory");
  ++queue.avail_index;
  *static_cast<volatile std::uint16_t*>(&queue.avail[1]) = queue.avail_index;
}

void Attacker::add(PolledQueue& queue, std::uint16_t head, const Descriptor& descriptor) {
  queue.descriptors[head] = descriptor;
  add_head(queue, head);
}

bool Attacker::answered(std::uint16_t number, std::uint32_t bytes) {
  PolledQueue& queue = number == 0 ? driver_.receive() : number == 1 ? driver_.transmit() : driver_.control();
  bool lengths_fit = true;
  for (unsigned tries = 0; tries < kPatience; ++tries) {
    std::uint16_t head = 0;
    std::uint32_t used = 0;
    while (queue.take_used(head, used)) {
      lengths_fit = lengths_fit && used <= bytes;
    }
    if (queue.used_index == queue.avail_index) {
      return lengths_fit;
    }
    // An exit to the VMM, so it is not made too often.
    if (tries % 1024 == 1023 && (driver_.status() & VIRTIO_CONFIG_S_NEEDS_RESET) != 0) {
      return lengths_fit;
    }
  }
  return false;
}

bool Attacker::works() {
  begin();
  const std::uintptr_t frame = buffer(63);
  for (unsigned i = 0; i < kFrameBytes; ++i) {
    write_register<std::uint8_t>(frame + i,
                                 i < sizeof(virtio_net_hdr_v1) ? std::uint8_t{0} : std::uint8_t{2});
  }
  driver_.transmit().add(0, frame, kFrameBytes, false);
  driver_.kick(1);
  return started_ && answered(1, 0) && driver_.transmit().used_index == 1 &&
         (driver_.status() & VIRTIO_CONFIG_S_NEEDS_RESET) == 0;
}

void Attacker::judge(const char* name, std::uint16_t number, std::uint32_t bytes) {
  driver_.kick(number);
  judge_recovery(name, started_ && answered(number, bytes));
}

void Attacker::judge_recovery(const char* name, bool passed) {
  check(name, passed && works());
}

}  // namespace guest
