// SPDX-License-Identifier: Apache-2.0
// Both transports in front of a device that does nothing, as sequences of operations of six bytes: what,
// where (two bytes), how wide, and a value (two bytes). The first byte of the input chooses the transport.
// After each operation the device must be in a state that virtio 1.3 allows.
#include <linux/virtio_config.h>

#include <array>
#include <bit>
#include <cstdint>
#include <optional>
#include <span>

#include "net/base/check.h"
#include "virtio/testing/transport_driver.h"

namespace {

using namespace tapir::virtio;
using namespace tapir::virtio::testing;

constexpr std::size_t kOperationBytes = 6;
constexpr std::uint64_t kFeatures = std::uint64_t{1} << VIRTIO_F_VERSION_1 | std::uint64_t{1}
                                                                                 << VIRTIO_F_RING_RESET;

/// Values that mean something somewhere, and others.
std::uint64_t widened(std::uint16_t value) {
  constexpr std::array<std::uint64_t, 8> kSpecial{
      0xFFFF'FFFF'FFFF'FFFF, 0x8000'0000, 0xFFFF, 0x1'0000'0000, 0x1'0000, 0x1'0400, 0x1'0800, 0xE100'0000};
  return value >= 0xFF00 ? kSpecial[value % kSpecial.size()] : value;
}

struct Operation {
  std::uint8_t what;
  std::uint16_t where;
  std::size_t width;
  std::uint64_t value;
};

Operation parse(std::span<const std::uint8_t> bytes) {
  const auto word = [&bytes](std::size_t at) {
    return static_cast<std::uint16_t>(bytes[at] | unsigned{bytes[at + 1]} << 8U);
  };
  return {bytes[0], word(1), std::size_t{1} << (bytes[3] % 4U), widened(word(4))};
}

void access(MmioDriver& driver, const Operation& operation) {
  std::array<std::byte, 8> bytes{};
  store_little_endian(operation.value, bytes);
  const std::uint64_t offset = operation.where % 0x1010U;
  if (operation.what % 2 == 0) {
    driver.transport->read(offset, std::span(bytes).first(operation.width));
  } else {
    driver.transport->write(offset, std::span<const std::byte>(bytes).first(operation.width));
  }
}

void access(PciDriver& driver, const Operation& operation) {
  std::array<std::byte, 8> bytes{};
  store_little_endian(operation.value, bytes);
  const auto into = std::span(bytes).first(operation.width);
  const std::span<const std::byte> from = into;
  // A configuration access has no more than four bytes.
  const bool configuration = operation.what % 4 >= 2 && operation.width <= 4;
  const std::uint64_t offset = operation.where % (configuration ? 0x1010U : 0x8010U);
  if (configuration && operation.what % 2 == 0) {
    driver.transport->config_read(offset, into);
  } else if (configuration) {
    driver.transport->config_write(offset, from);
  } else if (operation.what % 2 == 0) {
    driver.transport->read_bar(PciTransport::kBar, offset, into);
  } else {
    driver.transport->write_bar(PciTransport::kBar, offset, from);
  }
}

/// What no sequence may bring about.
void check(TransportParts& parts, TransportDriver& driver) {
  const std::uint32_t status = driver.status();
  const std::uint32_t steps = status & ~std::uint32_t{VIRTIO_CONFIG_S_FAILED | VIRTIO_CONFIG_S_NEEDS_RESET};
  CHECK(steps == 0 || steps == 0x1 || steps == 0x3 || steps == 0xB || steps == 0xF);
  FakeDevice& device = parts.device;
  CHECK(!device.active || (steps == 0xF && (device.active->features & ~device.offered) == 0));
  CHECK(device.active || steps != 0xF || (status & VIRTIO_CONFIG_S_NEEDS_RESET) != 0);
  for (const ActiveQueue& queue : device.enabled_again) {
    CHECK(std::has_single_bit(queue.queue.size()) && queue.index < device.max_queue_sizes().size() &&
          queue.queue.size() <= device.max_queue_sizes()[queue.index]);
  }
  CHECK(device.enabled_again.size() <= device.queue_resets.size());
}

template <typename Driver>
void run(std::span<const std::uint8_t> input) {
  TransportParts parts;
  parts.device.offered |= kFeatures;
  Driver driver(parts);
  for (; input.size() >= kOperationBytes; input = input.subspan(kOperationBytes)) {
    const Operation operation = parse(input);
    // A few whole steps, so that sequences get somewhere.
    switch (operation.what) {
      case 0xF0:
        driver.start({operation.where % 4U, operation.where / 4U % 4U}, kFeatures);
        break;
      case 0xF1:
        driver.set_up_queue(operation.where % 5U);
        break;
      case 0xF2:
        driver.select_queue(operation.where % 5U);
        driver.reset_queue();
        break;
      case 0xF3:
        driver.machine_reset();
        break;
      case 0xF4:
        if (parts.device.active) {
          parts.device.active->notifier->notify_queue(operation.where);
          parts.device.active->notifier->notify_config();
        }
        break;
      case 0xF5:
        if (parts.device.active) {
          parts.device.active->notifier->set_needs_reset();
        }
        break;
      case 0xF6:
        parts.device.refuse_activation = operation.where % 2 != 0;
        break;
      default:
        access(driver, operation);
        break;
    }
    check(parts, driver);
  }
  driver.write_status(0);
  CHECK(driver.status() == 0 && !parts.device.active);
}

}  // namespace

// C53, C126, C134, TR-01, TR-03, TR-11
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::uint8_t> input(data, size);
  if (!input.empty()) {
    input[0] % 2 == 0 ? run<MmioDriver>(input.subspan(1)) : run<PciDriver>(input.subspan(1));
  }
  return 0;
}
