// SPDX-License-Identifier: Apache-2.0
// The whole network device on the sync engine over a socket pair. The first bytes choose features, queue
// size and ring format; then come operations of two bytes each (kicks, frames from the host end, changes of a
// ring word, resets); what is left is guest memory from its start, in which the rings of the receive,
// transmit and control queues come first.
#include <linux/virtio_config.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "net/base/check.h"
#include "net/base/event_fd.h"
#include "net/frame_io_factory.h"
#include "net/offload.h"
#include "virtio/net_device.h"
#include "virtio/net_features.h"
#include "virtio/ring_layout.h"

namespace {

using namespace tapir;
using namespace tapir::virtio;

constexpr std::uint64_t kMemoryBytes = std::uint64_t{256} << 10;
constexpr std::size_t kOperations = 48;  // bytes of input

class SilentNotifier final : public Notifier {
 public:
  void notify_queue(std::uint16_t /*queue*/) override {}
  void notify_config() override {}
  void set_needs_reset() override {}
};

/// Made once: starting a thread for each input would cost more than the input.
struct Harness {
  Harness() {
    std::signal(SIGPIPE, SIG_IGN);
    std::array<int, 2> ends{};
    CHECK(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) == 0);
    peer = UniqueFd(ends[0]);
    net::FramePort port;
    port.fd = UniqueFd(ends[1]);
    port.features = {true, net::kAllTunOffloads, 1500};
    auto io = net::make_frame_io(std::move(port), net::EngineChoice::kSync);
    CHECK(io.has_value());
    io_thread = *IoThread::start(*std::move(io), "io-fuzz");
    NetDeviceOptions everything;
    everything.features_off = 0;
    everything.multi_queue = true;
    device = std::make_unique<NetDevice>(net::MacAddress{}, std::vector{io_thread.get()}, everything);
  }

  GuestMemory memory = *GuestMemory::create(kMemoryBytes);
  EventFd receive_kick = *EventFd::create();
  EventFd transmit_kick = *EventFd::create();
  EventFd control_kick = *EventFd::create();
  SilentNotifier notifier;
  UniqueFd peer;
  std::unique_ptr<IoThread> io_thread;
  std::unique_ptr<NetDevice> device;
};

void activate(Harness& harness, std::uint64_t features, std::uint16_t size) {
  Activation activation;
  activation.features = features;
  activation.notifier = &harness.notifier;
  const std::array<const EventFd*, 3> kicks{&harness.receive_kick, &harness.transmit_kick,
                                            &harness.control_kick};
  for (std::uint16_t index = 0; index < kicks.size(); ++index) {
    // The rings of all queues at the front of memory, one after the other.
    const std::uint64_t base = index * std::uint64_t{0x2800};
    auto queue =
        Virtqueue::create(harness.memory,
                          {index == 2 ? std::min(size, NetDevice::kMaxControlQueueSize) : size,
                           GuestAddress{base + 0x40}, GuestAddress{base}, GuestAddress{base + 0x1400}},
                          features);
    CHECK(queue.has_value());
    activation.queues.push_back({index, *std::move(queue), kicks[index]->fd()});
  }
  CHECK(harness.device->activate(std::move(activation)).has_value());
}

void operate(Harness& harness, std::uint8_t operation, std::uint8_t argument) {
  static std::array<std::byte, 65536> frame{};
  switch (operation % 4) {
    case 0:
      harness.receive_kick.signal();
      break;
    case 1:
      harness.transmit_kick.signal();
      if (argument != 0) {
        harness.control_kick.signal();
      }
      break;
    case 2: {
      // A frame from the host end; its header says what the argument's bits say.
      frame[0] = static_cast<std::byte>(argument & 3U);
      frame[1] = static_cast<std::byte>(argument >> 5U);
      const std::size_t bytes = std::min(frame.size(), std::size_t{1} << (argument % 17U));
      static_cast<void>(::send(harness.peer.get(), frame.data(), bytes, MSG_DONTWAIT | MSG_NOSIGNAL));
      break;
    }
    default: {
      // As another CPU: a word of a ring changes while the device works.
      const std::uint64_t at = (operation >> 2U) * std::uint64_t{2} + (argument & 1U) * std::uint64_t{0x2800};
      auto* const word = harness.memory.slice(GuestAddress{at}, 2)->data();
      std::atomic_ref<std::uint16_t>(*reinterpret_cast<std::uint16_t*>(word)).fetch_add(argument >> 1U);
      break;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Harness harness;
  std::span<const std::uint8_t> input(data, size);
  if (input.size() < 4 + kOperations) {
    return 0;
  }
  const auto queue_size = static_cast<std::uint16_t>(1U << (input[0] % 9U));
  // Each bit leaves out one feature that no other needs.
  std::uint64_t features = harness.device->features();
  const std::array<unsigned, 8> optional{
      VIRTIO_NET_F_MRG_RXBUF, VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC, VIRTIO_NET_F_MTU,
      VIRTIO_NET_F_HOST_USO,  VIRTIO_NET_F_GUEST_ECN,  VIRTIO_NET_F_CTRL_VLAN,      VIRTIO_NET_F_CTRL_RX};
  for (unsigned i = 0; i < optional.size(); ++i) {
    features &= ~(std::uint64_t{input[1] >> i & 1U} << optional[i]);
  }
  if ((input[2] & 1U) == 0) {
    features &= ~kOffByDefault;
  }
  CHECK(harness.device->accepts(features));
  const auto ram = harness.memory.regions()[0].host;
  const auto image = input.subspan(4 + kOperations);
  const std::size_t copied = std::min(image.size(), ram.size());
  if (copied != 0) {
    std::memcpy(ram.data(), image.data(), copied);
  }
  std::memset(ram.data() + copied, 0, std::min<std::size_t>(ram.size() - copied, std::size_t{64} << 10));

  activate(harness, features, queue_size);
  for (std::size_t i = 0; i < kOperations; i += 2) {
    const std::uint8_t operation = input[4 + i];
    if (operation == 0xFF) {
      harness.device->reset();
      activate(harness, features, queue_size);
    } else {
      operate(harness, operation, input[5 + i]);
    }
  }
  harness.device->reset();
  // Makes room for the next input's frames.
  static std::array<std::byte, 66000> sent;
  while (::recv(harness.peer.get(), sent.data(), sent.size(), MSG_DONTWAIT) > 0) {
  }
  return 0;
}
