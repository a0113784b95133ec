// SPDX-License-Identifier: Apache-2.0
#include "net/frame_arena.h"

#include <sys/mman.h>

#include "net/base/check.h"

namespace tapir::net {

Result<FrameArena> FrameArena::create() {
  void* const address =
      ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) {
    return fail_errno("cannot get memory for frames");
  }
  return FrameArena(Mapping(address, kBytes));
}

std::span<std::byte, FrameArena::kTransmitSlotBytes> FrameArena::transmit_slot(std::size_t number) const {
  CHECK(number < kTransmitSlots);
  return memory_.bytes().subspan(number * kTransmitSlotBytes).first<kTransmitSlotBytes>();
}

std::span<std::byte, FrameArena::kReceiveBytes> FrameArena::receive_slot(std::size_t number) const {
  CHECK(number < kReceiveSlots);
  return memory_.bytes().subspan(kReceiveStart + number * kReceiveSlotBytes).first<kReceiveBytes>();
}

std::span<std::byte> FrameArena::part(std::size_t number) const {
  return number == 0 ? memory_.bytes().first(kFirstPartBytes) : memory_.bytes().subspan(kFirstPartBytes);
}

std::size_t FrameArena::part_of(const void* address) const {
  return static_cast<const std::byte*>(address) < part(1).data() ? 0 : 1;
}

}  // namespace tapir::net
