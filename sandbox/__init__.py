"""An AWS to try Stillpoint in: one machine, nothing real at stake.

The real template is built, deployed, triggered and run; only the cloud under it is emulated. The
emulator is ministack, extended from outside by the modules here. No product code imports this
package.
"""
