"""template.yaml, deployed to an independent emulator and run there by boto3, the AWS CLI, the SAM CLI and the command line.

    python -m unittest discover -s tests/deploy -t .

    HOLDFAST_SAM_BUILD      the directory that `sam build` made: what is deployed
    HOLDFAST_FUNCTIONS_DIR  without it, where the functions' binaries are, `holdfast-NAME`; target/release unless set
    HOLDFAST_BIN            the command line; else `holdfast` beside the binaries
    HOLDFAST_TEMPLATE       another template than template.yaml, for binaries that are named so
    HOLDFAST_EMULATOR_LOG   how much the emulator logs: WARNING unless set

The emulator holds every call to the policies of its caller (AUTH=true) and is reached by TLS, since the policies ask for
it. One stack serves all tests of a run; each test has resources, tables and prefixes of its own.
"""
