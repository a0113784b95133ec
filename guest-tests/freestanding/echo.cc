// SPDX-License-Identifier: Apache-2.0
// Sends back every frame of the test's own Ethernet type as it came, straight from the buffer that it came
// in, until it has seen frames= of them. The runner sends them through the tap and compares. With swap=1 a
// frame goes back to its sender, as a bridge between the two wants it.
#include "guest-tests/freestanding/idle.h"
#include "guest-tests/freestanding/runtime.h"
#include "guest-tests/freestanding/virtio_net_driver.h"
#include "guest-tests/freestanding/virtio_net_uapi.h"

namespace guest {
namespace {

constexpr std::uintptr_t kBuffers = 0x210'0000;
constexpr std::uintptr_t kBufferBytes = 2048;
constexpr std::uint32_t kHeaderBytes = sizeof(virtio_net_hdr_v1);
constexpr std::uint16_t kEtherTypeOffset = 12;
constexpr std::uint16_t kOurEtherType = 0xB588;  // 0x88B5 in network order
// Buffer n is posted by receive descriptor n; its frame goes out by transmit descriptor n.
constexpr std::uint16_t kCount = PolledQueue::kQueueSize;

struct Tally {
  std::uint64_t echoed = 0;
  std::uint64_t others = 0;
  bool headers_are_plain = true;   ///< no offload was negotiated
  bool num_buffers_is_one = true;  ///< written also without MRG_RXBUF (virtio 1.3, 5.1.6.4)
  bool lengths_fit = true;
};

std::uintptr_t buffer(std::uint16_t head) {
  return kBuffers + kBufferBytes * head;
}

void look_at(const virtio_net_hdr_v1& header, std::uint32_t bytes, Tally& tally) {
  tally.headers_are_plain =
      tally.headers_are_plain && header.flags == 0 && header.gso_type == VIRTIO_NET_HDR_GSO_NONE;
  tally.num_buffers_is_one = tally.num_buffers_is_one && header.num_buffers == 1;
  tally.lengths_fit = tally.lengths_fit && bytes > kHeaderBytes + ETH_HLEN && bytes <= kBufferBytes;
}

bool is_for(const VirtioPci& device, std::uintptr_t frame) {
  for (unsigned i = 0; i < ETH_ALEN; ++i) {
    if (read_register<std::uint8_t>(device.device + i) != *reinterpret_cast<const std::uint8_t*>(frame + i)) {
      return false;
    }
  }
  return true;
}

void swap_addresses(std::uintptr_t frame) {
  auto* const bytes = reinterpret_cast<std::uint8_t*>(frame);
  for (unsigned i = 0; i < ETH_ALEN; ++i) {
    const std::uint8_t destination = bytes[i];
    bytes[i] = bytes[ETH_ALEN + i];
    bytes[ETH_ALEN + i] = destination;
  }
}

/// Takes what has come; true if something did.
bool receive(VirtioNetDriver& driver, const VirtioPci* shared, Tally& tally) {
  std::uint16_t head = 0;
  std::uint32_t bytes = 0;
  bool any = false;
  while (driver.receive().take_used(head, bytes)) {
    any = true;
    const std::uintptr_t at = buffer(head);
    auto& header = *reinterpret_cast<virtio_net_hdr_v1*>(at);
    look_at(header, bytes, tally);
    const std::uintptr_t frame = at + kHeaderBytes;
    if (*reinterpret_cast<const std::uint16_t*>(frame + kEtherTypeOffset) != kOurEtherType ||
        (shared != nullptr && !is_for(*shared, frame))) {
      ++tally.others;  // the host's own traffic, or other guests'
      driver.receive().add(head, at, kBufferBytes, true);
      continue;
    }
    header.num_buffers = 0;
    if (shared != nullptr) {
      swap_addresses(frame);
    }
    driver.transmit().add(head, at, bytes, false);
    ++tally.echoed;
  }
  return any;
}

/// Buffers whose frames have gone out are posted again; true if there were some.
bool repost(VirtioNetDriver& driver) {
  std::uint16_t head = 0;
  std::uint32_t bytes = 0;
  bool any = false;
  while (driver.transmit().take_used(head, bytes)) {
    any = true;
    driver.receive().add(head, buffer(head), kBufferBytes, true);
  }
  return any;
}

/// `shared`: the device, if the network and the host are shared with others.
void echo(VirtioNetDriver& driver, const VirtioPci* shared, std::uint64_t frames, Tally& tally) {
  std::uint64_t returned = 0;
  const Idle idle;
  while (tally.echoed < frames || driver.transmit().used_index != driver.transmit().avail_index) {
    if (shared != nullptr) {
      idle.sleep();
    }
    if (receive(driver, shared, tally)) {
      driver.kick(1);
    }
    if (repost(driver)) {
      driver.kick(0);
      ++returned;
    }
  }
  info("turns", returned);
}

}  // namespace

void run_guest() {
  plan(5);
  const bool on_mmio = parameter_is("transport", "mmio");
  const VirtioPci pci = on_mmio ? VirtioPci{} : find_virtio_net_pci();
  VirtioNetDriver driver = on_mmio ? VirtioNetDriver(parameter("mmio", 0)) : VirtioNetDriver(pci);
  if (!on_mmio && pci.common == 0) {
    check("virtio-net is on bus 0", false);
    return;
  }
  check("device accepts the driver", driver.start());
  for (std::uint16_t head = 0; head < kCount; ++head) {
    driver.receive().add(head, buffer(head), kBufferBytes, true);
  }
  driver.kick(0);
  print("INFO ready\n");

  Tally tally;
  const std::uint64_t frames = parameter("frames", 0);
  echo(driver, parameter("share", 0) != 0 ? &pci : nullptr, frames, tally);
  info("frames of others", tally.others);
  check_equal("every frame was sent back", tally.echoed, frames);
  check("headers ask for nothing", tally.headers_are_plain);
  check("num_buffers is 1", tally.num_buffers_is_one);
  check("lengths fit", tally.lengths_fit);
}

}  // namespace guest
