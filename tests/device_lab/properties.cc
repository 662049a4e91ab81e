// Preloaded into adbd, which asks Android's property service for the names it announces to its clients.
#include <fstream>
#include <string>
namespace android {
namespace base {
__attribute__((visibility("default"))) std::string GetProperty(const std::string& key, const std::string& fallback) {
  std::ifstream file("/system/build.prop");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(key + "=", 0) == 0) return line.substr(key.size() + 1);
  }
  return fallback;
}
}  // namespace base
}  // namespace android
