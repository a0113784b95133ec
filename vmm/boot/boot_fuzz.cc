// SPDX-License-Identifier: Apache-2.0
// A kernel file chosen by the fuzzer: the loader may refuse it, and what it accepts must start inside of
// memory.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "net/base/check.h"
#include "vmm/boot/loader.h"
#include "vmm/boot/memory_map.h"
#include "vmm/boot/testing/synthetic_kernel.h"

using namespace tapir;
using namespace tapir::vmm::boot;

// LDR-01
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const virtio::GuestMemory memory = virtio::GuestMemory::create(32U << 20U).value();
  // The last two bytes choose the initrd and the command line, so that a plain kernel file is a good seed.
  const std::size_t kernel_bytes = size < 2 ? size : size - 2;
  const std::uint8_t initrd_pages = size < 2 ? 0 : data[size - 2];
  const std::uint8_t command_line_units = size < 2 ? 0 : data[size - 1];
  testing::Bytes kernel(kernel_bytes);
  if (kernel_bytes != 0) {
    std::memcpy(kernel.data(), data, kernel_bytes);
  }
  BootFiles files{testing::make_file(kernel), {}, "kernel"};
  if (initrd_pages != 0) {
    files.initrds.push_back(
        {testing::make_file(testing::Bytes(std::size_t{initrd_pages} * 4096), "-initrd test"), "test"});
    files.initrds.push_back({testing::make_file(testing::Bytes(initrd_pages)), "odd"});
  }
  const std::string command_line(std::size_t{command_line_units} * 300, 'x');

  const auto entry = load(memory, files, {command_line});
  if (!entry) {
    CHECK(!entry.error().message().empty());
    return 0;
  }
  CHECK(entry->instruction_pointer >= kKernelFloor);
  CHECK(memory.slice(virtio::GuestAddress{entry->instruction_pointer}, 1));
  CHECK(memory.slice(virtio::GuestAddress{entry->boot_data}, 56));
  return 0;
}
